"""reports/model_card."""
