"""A web page that compares two clips and identifies singers of a gallery."""
