"""Parts of a researcher's own, written from docs/extending.md alone."""
