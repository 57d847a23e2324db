"""Folders of a data set to a table of utterances."""
