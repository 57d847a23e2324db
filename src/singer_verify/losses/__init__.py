"""Losses: a weighted sum of exchangeable terms."""
