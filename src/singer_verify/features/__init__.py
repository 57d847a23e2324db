"""Features: from samples to frames; one file per recipe."""
