"""evaluation/scoring."""
