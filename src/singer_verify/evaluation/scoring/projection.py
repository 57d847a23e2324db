"""Projections of embeddings before scoring: centring, whitening, linear discriminant analysis."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from singer_verify.errors import SingerVerifyError

# Share of the mean variance that is added to every direction: a unit that is silent in all the embeddings of the fit
# may be active in a trial, and would outweigh all others there.
MIN_RELATIVE_VARIANCE = 1e-3


@dataclass(frozen=True)
class Projection:
    """Affine map of embeddings: rows x become (x - mean) @ matrix, scaled to unit length.

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


def fit_centring(embeddings: Float[np.ndarray, "utterances embedding"]) -> Projection:
    """Fit the projection that moves the mean of these embeddings to the origin.

    Raises:
        SingerVerifyError: fewer than two embeddings, or all are equal.
    """
    _require_spread(embeddings)
    return _build_projection(embeddings.mean(axis=0, dtype=np.float64), np.eye(embeddings.shape[1]))


def fit_whitening(embeddings: Float[np.ndarray, "utterances embedding"]) -> Projection:
    """Fit centring and whitening: the total covariance (within and between singers) becomes the identity.

    The matrix is the inverse square root of the covariance (ZCA; Kessy, Lewin & Strimmer 2018, Optimal whitening and
    decorrelation, The American Statistician 72), which is shrunk as by Ledoit & Wolf (2004). In speaker verification:
    Garcia-Romero & Espy-Wilson 2011, Analysis of i-vector length normalization in speaker recognition systems,
    Interspeech. Implemented here because scikit-learn whitens only by PCA, whose axes are arbitrary where variances
    are equal.

    Raises:
        SingerVerifyError: fewer than two embeddings, or all are equal.
    """
    from sklearn.covariance import shrunk_covariance

    _require_spread(embeddings)
    mean = embeddings.mean(axis=0, dtype=np.float64)
    centred = embeddings - mean
    covariance = centred.T @ centred / len(centred)
    variances, axes = np.linalg.eigh(shrunk_covariance(covariance, _estimate_shrinkage(centred)))
    return _build_projection(mean, (axes / np.sqrt(variances)) @ axes.T)


def fit_lda(
    embeddings: Float[np.ndarray, "utterances embedding"],
    singer_index: Int[np.ndarray, " utterances"],
    num_dims: int | None = None,
    shrinkage: float | None = None,
) -> Projection:
    """Fit linear discriminant analysis: the directions in which singers differ most, relative to variation within them.

    scikit-learn's `LinearDiscriminantAnalysis`, each singer counting by the number of utterances. Projected rows have
    unit variance within singers in every direction. With as many dimensions as embeddings have, that is a rotation of
    within-class covariance normalisation (Hatch, Kajarekar & Stolcke 2006, Interspeech). In speaker verification: Dehak
    et al. 2011, Front-end factor analysis for speaker verification, IEEE Trans. ASLP 19 (4).

    Args:
        embeddings: embeddings of utterances.
        singer_index: index of each one's singer.
        num_dims: number of dimensions to keep; None keeps all: one less than the number of singers, at most the
            dimensions of an embedding.
        shrinkage: weight of a multiple of the identity in the covariance within singers, in [0, 1]; None estimates it
            after Ledoit & Wolf (2004) for all singers together. scikit-learn's "auto" estimates it for each singer from
            a few utterances, and makes far more errors.

    Raises:
        SingerVerifyError: too few singers for so many dimensions, or no two utterances of one singer that differ.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    _require_spread(embeddings)
    singers, singer_index = np.unique(singer_index, return_inverse=True)
    num_dims = _resolve_num_dims(len(singers), embeddings.shape[1], num_dims)
    rows = embeddings.astype(np.float64)
    singer_means = np.stack([rows[singer_index == singer].mean(axis=0) for singer in range(len(singers))])
    within = rows - singer_means[singer_index]
    if not np.abs(within).max() > np.finfo(np.float32).eps:
        raise SingerVerifyError(
            f"lda: none of {len(singers)} singers has two utterances that differ, so the variation within singers is "
            f"unknown; add utterances."
        )
    shrinkage = _estimate_shrinkage(within) if shrinkage is None else shrinkage
    analysis = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage).fit(rows, singer_index)
    return _build_projection(rows.mean(axis=0), analysis.scalings_[:, :num_dims])


def _resolve_num_dims(num_singers: int, embedding_size: int, num_dims: int | None) -> int:
    max_dims = min(num_singers - 1, embedding_size)
    if max_dims < 1 or (num_dims is not None and not 1 <= num_dims <= max_dims):
        raise SingerVerifyError(
            f"lda: {num_singers} singers with embeddings of {embedding_size} dimensions allow at most {max_dims} "
            f"dimensions{'' if num_dims is None else f', but num_dims={num_dims}'}; use at least two singers, and "
            f"fewer dimensions than singers."
        )
    return max_dims if num_dims is None else num_dims


def _estimate_shrinkage(centred: Float[np.ndarray, "utterances embedding"]) -> float:
    """Estimate Ledoit and Wolf's shrinkage of a covariance, at least `MIN_RELATIVE_VARIANCE`."""
    from sklearn.covariance import ledoit_wolf_shrinkage  # slow to import and needed for fitting only

    shrinkage = float(ledoit_wolf_shrinkage(centred, assume_centered=True))
    return (shrinkage + MIN_RELATIVE_VARIANCE) / (1.0 + MIN_RELATIVE_VARIANCE)


def _build_projection(mean: np.ndarray, matrix: np.ndarray) -> Projection:
    return Projection(mean.astype(np.float32), matrix.astype(np.float32))


def _require_spread(embeddings: np.ndarray) -> None:
    if not np.isfinite(embeddings).all():
        raise SingerVerifyError("an embedding is not finite; the model is broken.")
    if len(embeddings) < 2 or not np.ptp(embeddings, axis=0).max() > np.finfo(np.float32).eps:
        raise SingerVerifyError(
            f"{len(embeddings)} embeddings, none different from another: a projection needs at least two that differ."
        )
