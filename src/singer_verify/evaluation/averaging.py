"""The mean of embeddings, brought back to unit length: windows of an utterance, recordings of a singer.

Every such mean in the package is computed here, but for two that must be traced or differentiated: that of an exported
model (`export.traceable_model`) and the centroids of a loss (`losses.ge2e`).
"""

import numpy as np
from jaxtyping import Float, Int

GROUPS_PER_BLOCK = 4096
MIN_LENGTH = 1e-12  # smallest norm of a sum that has a direction; a sum of zero stays zero


def average_by_group(
    embeddings: Float[np.ndarray, "rows embedding"], groups: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, "groups embedding"]:
    """Average the embeddings of each group and bring the means to unit length.

    Rajan, Afanasyev, Hautamäki & Kinnunen 2014, From single to multiple enrollment i-vectors, Digital Signal
    Processing 31, compare this with other ways to enrol from several recordings.

    Args:
        embeddings: rows of unit length.
        groups: number of the group of each row, from 0 without a gap.

    Returns:
        means in the precision of the rows, summed in double precision in the order of the rows.
    """
    return _normalise_sums(_sum_by_group(embeddings, groups), embeddings)


def average_without(
    embeddings: Float[np.ndarray, "rows embedding"],
    groups: Int[np.ndarray, " rows"],
    chosen: Int[np.ndarray, " means"],
    left_out: Int[np.ndarray, " means"],
) -> Float[np.ndarray, "means embedding"]:
    """Average the embeddings of chosen groups as `average_by_group` does, each without one of its rows, or whole.

    Args:
        embeddings: rows of unit length.
        groups: number of the group of each row.
        chosen: group of each mean.
        left_out: number of the row that each mean leaves out, negative for none.
    """
    sums = _sum_by_group(embeddings, groups)[chosen]
    is_reduced = left_out >= 0
    sums[is_reduced] -= embeddings[left_out[is_reduced]]
    return _normalise_sums(sums, embeddings)


def average_embeddings(embeddings: Float[np.ndarray, "rows embedding"]) -> Float[np.ndarray, " embedding"]:
    """Average embeddings and bring the mean to unit length."""
    mean: np.ndarray = average_by_group(embeddings, np.zeros(len(embeddings), np.int64))[0]
    return mean


def _sum_by_group(embeddings: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sum the rows of each group in double precision, in their order; a group without rows has a sum of zero."""
    if (np.diff(groups) < 0).any():
        order = np.argsort(groups, kind="stable")
        groups, embeddings = groups[order], embeddings[order]
    present, starts = np.unique(groups, return_index=True)
    sums = np.zeros((int(groups.max(initial=-1)) + 1, embeddings.shape[1]))
    for first in range(0, len(present), GROUPS_PER_BLOCK):  # rows are converted block by block
        block = slice(first, first + GROUPS_PER_BLOCK)
        end = starts[block.stop] if block.stop < len(starts) else len(embeddings)
        rows = embeddings[starts[first] : end]
        sums[present[block]] = np.add.reduceat(rows, starts[block] - starts[first], axis=0, dtype=np.float64)
    return sums


def _normalise_sums(sums: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    means: np.ndarray = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), MIN_LENGTH)
    return means.astype(embeddings.dtype)
