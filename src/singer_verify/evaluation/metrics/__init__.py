"""Metrics of a verification system, with bootstrap intervals over singers."""
