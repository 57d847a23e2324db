"""evaluation/metrics."""
