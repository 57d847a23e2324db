"""Data sets on disk: utterances and labels of a corpus, splits of singers, and preparation from downloads."""
