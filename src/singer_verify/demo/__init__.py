"""A page in the browser that compares two clips, and tells who of a gallery sings."""
