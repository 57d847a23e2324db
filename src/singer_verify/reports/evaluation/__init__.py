"""The report of one evaluation: tables, figures, a page, files for programs."""
