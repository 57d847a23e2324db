"""reports/evaluation."""
