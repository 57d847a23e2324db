"""The scores of all pairs of utterances, in memory that does not grow with their number."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from singer_verify.evaluation.scoring import Scoring, Sides

SCORES_AT_ONCE = 2**22
MOST_OF_A_KIND = 2_000_000  # beyond these, more trials of the same singers no longer change a line or a threshold


@dataclass(frozen=True)
class PairScores:
    """Trials, all there are or a draw of them.

    Attributes:
        scores: (trials,).
        is_target: (trials,), whether one singer sings both.
        num_targets: of all pairs.
        num_nontargets: of all pairs.
    """

    scores: Float[np.ndarray, " trials"]
    is_target: Bool[np.ndarray, " trials"]
    num_targets: int
    num_nontargets: int


def all_pair_scores(
    sides: Sides, singer_index: Int[np.ndarray, " utterances"], scoring: Scoring, most: int = MOST_OF_A_KIND
) -> PairScores:
    """Every utterance against every other, once; of a kind with more than about `most`, as many, drawn by chance.

    Two scorings of the same utterances keep the same trials.
    """
    counts = np.bincount(singer_index)
    num_targets = int((counts * (counts - 1)).sum()) // 2
    num_nontargets = len(sides) * (len(sides) - 1) // 2 - num_targets
    kept_share = np.array([min(1.0, most / max(1, number)) for number in (num_nontargets, num_targets)])
    generator = np.random.default_rng(0)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    step = max(1, SCORES_AT_ONCE // max(1, len(sides)))
    for first in range(0, len(sides), step):
        rows, columns = slice(first, first + step), slice(first, None)
        scores = scoring.scores(sides[rows], sides[columns])
        is_target = singer_index[rows, None] == singer_index[columns]
        kept = np.triu(np.ones(scores.shape, bool), k=1)
        if kept_share.min() < 1.0:
            kept &= generator.random(scores.shape, np.float32) < kept_share[is_target.astype(np.int8)]
        found.append((scores[kept], is_target[kept]))
    scores, is_target = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return PairScores(scores, is_target, num_targets, num_nontargets)
