"""Frames of a corpus split on disk: packed, memory-mapped, computed once per recipe."""
