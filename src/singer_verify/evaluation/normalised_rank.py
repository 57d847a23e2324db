"""How far down another utterance of the same singer stands, among those of all other singers."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from singer_verify.evaluation.scoring import Scoring, Sides

MOST_QUERIES = 1000  # as many as in the source
SCORES_AT_ONCE = 2**22


@dataclass(frozen=True)
class Outranked:
    """For each query, who stands above the utterances of its own singer.

    Attributes:
        singers: (queries,), whose query each is.
        above: (queries, singers), mean number of utterances of each other singer that score higher than one of the
            query's own singer; equal scores count one half.
        num_utterances: (singers,).
    """

    singers: Int[np.ndarray, " queries"]
    above: Float[np.ndarray, "queries singers"]
    num_utterances: Int[np.ndarray, " singers"]

    def mean_rank(self, counts: Float[np.ndarray, "resamples singers"]) -> Float[np.ndarray, " resamples"]:
        """Mean normalised rank where each singer counts so many times, on either side; NaN where none has a query.

        Rank 0 is first; it is divided by the number of utterances that are ranked, so 0 is best and chance 0.5. Torres,
        Lattner & Richard 2023, Singer identity representation learning using self-supervised techniques, ISMIR, and
        `compute_rank` in the `eval.py` of its code. There, one utterance of the query's singer is ranked among 512 of
        other singers, drawn for each query; here every one among all, which is the mean over all such draws (to within
        1 in 512, for the one more that both are divided by).
        """
        others = (counts @ self.num_utterances)[:, None] - counts * self.num_utterances  # (resamples, singers)
        ranks = (counts @ self.above.T) / (others[:, self.singers] + 1.0)
        weights = counts[:, self.singers]
        with np.errstate(invalid="ignore"):
            mean: np.ndarray = (weights * ranks).sum(axis=1) / weights.sum(axis=1)
        return mean


def outranked(sides: Sides, singer_index: Int[np.ndarray, " utterances"], scoring: Scoring, seed: int) -> Outranked:
    """Rank utterances for each query: all that have another of their singer, or `MOST_QUERIES` of them, drawn."""
    num_utterances = np.bincount(singer_index)
    queries = np.flatnonzero(num_utterances[singer_index] > 1)
    if len(queries) > MOST_QUERIES:
        queries = np.sort(np.random.default_rng(seed).choice(queries, MOST_QUERIES, replace=False))
    above = np.zeros((len(queries), len(num_utterances)))
    step = max(1, SCORES_AT_ONCE // len(sides))
    for first in range(0, len(queries), step):
        block = queries[first : first + step]
        for place, scores in enumerate(scoring.scores(sides[block], sides), first):
            above[place] = _above(scores, int(queries[place]), singer_index, len(num_utterances))
    return Outranked(singer_index[queries], above, num_utterances)


def _above(
    scores: Float[np.ndarray, " utterances"], query: int, singer_index: np.ndarray, num_singers: int
) -> Float[np.ndarray, " singers"]:
    is_own = singer_index == singer_index[query]
    is_own[query] = False
    own = np.sort(scores[is_own])
    outdone = np.searchsorted(own, scores, side="left") + np.searchsorted(own, scores, side="right")
    above: np.ndarray = np.bincount(singer_index, 0.5 * outdone / len(own), num_singers)
    above[singer_index[query]] = 0.0
    return above
