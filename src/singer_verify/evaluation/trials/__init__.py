"""evaluation/trials."""
