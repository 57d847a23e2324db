"""Embeddings centred, whitened, or projected to where singers differ most, by what a set of embeddings tells."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import eigh

from singer_verify.errors import SingerVerifyError


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


# Of the mean variance, added to every direction: a unit that is silent in all these embeddings may sound in a trial,
# and would outweigh all others there.
MIN_RELATIVE_VARIANCE = 1e-3


def fit_centring(embeddings: Float[np.ndarray, "utterances embedding"]) -> Projection:
    """Moves the mean of these embeddings to the origin.

    Raises:
        SingerVerifyError: fewer than two embeddings, or all are equal.
    """
    _require_spread(embeddings)
    return _build_projection(embeddings.mean(axis=0, dtype=np.float64), np.eye(embeddings.shape[1]))


def fit_whitening(embeddings: Float[np.ndarray, "utterances embedding"]) -> Projection:
    """Centres, and gives the total covariance (within and between singers together) the same variance everywhere.

    The matrix is the inverse square root of the covariance (ZCA; Kessy, Lewin & Strimmer 2018, Optimal whitening and
    decorrelation, The American Statistician 72). In speaker verification: Garcia-Romero & Espy-Wilson 2011, Analysis of
    i-vector length normalization in speaker recognition systems, Interspeech.

    Raises:
        SingerVerifyError: fewer than two embeddings, or all are equal.
    """
    _require_spread(embeddings)
    mean = embeddings.mean(axis=0, dtype=np.float64)
    variances, axes = eigh(_estimate_covariance(embeddings - mean))
    return _build_projection(mean, (axes / np.sqrt(variances)) @ axes.T)


def fit_lda(
    embeddings: Float[np.ndarray, "utterances embedding"],
    singer_index: Int[np.ndarray, " utterances"],
    num_dims: int | None = None,
) -> Projection:
    """Linear discriminant analysis: the directions in which singers differ most, compared with what each one varies.

    The generalised eigenvectors of the covariance between and within singers (Fukunaga 1990, Introduction to
    statistical pattern recognition, chapter 10), each singer counting by the number of utterances. Projected rows
    have unit variance within singers in every direction. In speaker verification: Dehak et al. 2011, Front-end factor
    analysis for speaker verification, IEEE Trans. ASLP 19 (4).

    Args:
        embeddings: of utterances.
        singer_index: who sings each.
        num_dims: to keep; None keeps all there are: one less than singers, at most the dimensions of an embedding.

    Raises:
        SingerVerifyError: too few singers for so many dimensions, or no two utterances of one singer that differ.
    """
    _require_spread(embeddings)
    singers, numbers, counts = np.unique(singer_index, return_inverse=True, return_counts=True)
    num_dims = _resolve_num_dims(len(singers), embeddings.shape[1], num_dims)
    rows = embeddings.astype(np.float64)
    mean = rows.mean(axis=0)
    singer_means = np.zeros((len(singers), rows.shape[1]))
    np.add.at(singer_means, numbers, rows)
    singer_means /= counts[:, None]
    within = rows - singer_means[numbers]
    if not np.abs(within).max() > np.finfo(np.float32).eps:
        raise SingerVerifyError(
            f"lda: none of {len(singers)} singers has two utterances that differ, so what a singer varies is unknown; "
            f"give more utterances of each."
        )
    between = (singer_means - mean) * np.sqrt(counts / len(rows))[:, None]
    _, directions = eigh(between.T @ between, _estimate_covariance(within))
    return _build_projection(mean, directions[:, ::-1][:, :num_dims])


def _resolve_num_dims(num_singers: int, embedding_size: int, wanted: int | None) -> int:
    most = min(num_singers - 1, embedding_size)
    if most < 1 or (wanted is not None and not 1 <= wanted <= most):
        raise SingerVerifyError(
            f"lda: {num_singers} singers with embeddings of {embedding_size} dimensions tell at most {most} apart"
            f"{'' if wanted is None else f', and {wanted} are asked for'}; give at least two singers, one more than "
            f"dimensions."
        )
    return most if wanted is None else wanted


def _estimate_covariance(
    centred: Float[np.ndarray, "utterances embedding"],
) -> Float[np.ndarray, "embedding embedding"]:
    from sklearn.covariance import ledoit_wolf  # takes a second to import, and only fitting needs it

    covariance: np.ndarray = ledoit_wolf(centred, assume_centered=True)[0]
    dims = len(covariance)
    return covariance + MIN_RELATIVE_VARIANCE * np.trace(covariance) / dims * np.eye(dims)


def _build_projection(mean: np.ndarray, matrix: np.ndarray) -> Projection:
    return Projection(mean.astype(np.float32), matrix.astype(np.float32))


def _require_spread(embeddings: np.ndarray) -> None:
    if not np.isfinite(embeddings).all():
        raise SingerVerifyError("an embedding is not finite; the model is broken.")
    if len(embeddings) < 2 or not np.ptp(embeddings, axis=0).max() > np.finfo(np.float32).eps:
        raise SingerVerifyError(
            f"{len(embeddings)} embeddings, none different from another: a projection needs at least two that differ."
        )
