"""Encoders: networks that map frames to embeddings of unit length."""
