"""Trials between utterances of a split, and their scores."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Trials:
    """Pairs of utterances.

    Attributes:
        left: (trials,), number of one utterance.
        right: (trials,), number of the other.
        is_target: (trials,), whether one singer sings both.
    """

    left: Int[np.ndarray, " trials"]
    right: Int[np.ndarray, " trials"]
    is_target: Bool[np.ndarray, " trials"]


def all_pairs(
    singer_index: Int[np.ndarray, " utterances"], corpus_index: Int[np.ndarray, " utterances"] | None = None
) -> Trials:
    """Every utterance against every other, once; of several corpora, against those of its own corpus."""
    left, right = np.triu_indices(len(singer_index), k=1)
    if corpus_index is not None:
        is_within = corpus_index[left] == corpus_index[right]
        left, right = left[is_within], right[is_within]
    return Trials(left, right, singer_index[left] == singer_index[right])


def cosine_scores(
    embeddings: Float[np.ndarray, "utterances embedding"], trials: Trials
) -> Float[np.ndarray, " trials"]:
    """Cosine of the two embeddings of each trial; the rows are of unit length."""
    return (embeddings @ embeddings.T)[trials.left, trials.right]
