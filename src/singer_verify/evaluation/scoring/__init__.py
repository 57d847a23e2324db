"""Scoring of embeddings: projection, cosine, normalisation, enrolment, calibration."""
