"""Embeddings centred, whitened, or projected to where singers differ most, by what a set of embeddings tells."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Projection:
    """Rows x become (x - mean) @ matrix, brought to unit length.

    Attributes:
        mean: (embedding,).
        matrix: (embedding, projected).
    """

    mean: Float[np.ndarray, " embedding"]
    matrix: Float[np.ndarray, "embedding projected"]

    def __call__(self, embeddings: Float[np.ndarray, "sides embedding"]) -> Float[np.ndarray, "sides projected"]:
        projected = (embeddings - self.mean) @ self.matrix
        rows: np.ndarray = projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-12)
        return rows
