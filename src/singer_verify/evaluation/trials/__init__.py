"""Trials: lists, file formats, validation, sampling, and blocks of scores."""
