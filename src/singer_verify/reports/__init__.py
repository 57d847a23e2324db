"""Numbers to tables, figures and lines that people read."""
