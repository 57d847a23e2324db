"""Who sings: embeddings of recordings, their scores, galleries of known singers."""

from singer_verify.recognition.embedder import Embedder

__all__ = ["Embedder"]
