"""The axis of scores cut into cells, so that trials can be counted instead of kept."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit


@dataclass(frozen=True)
class Cells:
    """Every score lies in one cell: under the first level, at it, between it and the second, at that, and so on.

    Where the levels are all scores that target trials have, no target trial lies between two levels, and equal scores
    of both kinds share a cell; counts per cell then give the same error rates as the scores themselves.

    Attributes:
        levels: rising, each once.
    """

    levels: Float[np.ndarray, " levels"]

    @classmethod
    def of_targets(cls, target_scores: Float[np.ndarray, " targets"]) -> "Cells":
        """With a level at each of these scores."""
        return cls(np.unique(target_scores))

    def __len__(self) -> int:
        return 2 * len(self.levels) + 1

    def of(self, scores: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Number of the cell of each score, counted from the lowest."""
        below = np.searchsorted(self.levels, scores)
        is_at = self.levels[np.minimum(below, len(self.levels) - 1)] == scores
        below *= 2
        below += is_at
        return below

    def thinned(self, most_levels: int) -> "Cells":
        """With at most so many of the levels, the first and the last among them.

        Half of them are spread evenly over the ranks, half over the logits of the ranks, because the curve bends most
        where one of the two errors is rare.
        """
        num_levels = len(self.levels)
        if num_levels <= most_levels:
            return self
        even = np.linspace(0.0, 1.0, most_levels - most_levels // 2)
        furthest = np.log(num_levels)
        of_logits = expit(np.linspace(-furthest, furthest, most_levels // 2))
        ranks = np.unique(np.concatenate([even, of_logits]) * (num_levels - 1)).round().astype(np.int64)
        return Cells(self.levels[np.unique(ranks)])

    def within(self, coarser: "Cells") -> Int[np.ndarray, " cells"]:
        """For each of these cells, that of coarser ones in which it lies; their levels are some of these levels."""
        found = np.empty(len(self), np.int64)
        found[1::2] = coarser.of(self.levels)
        found[0] = 0
        found[2::2] = 2 * np.searchsorted(coarser.levels, self.levels, side="right")
        return found

    @property
    def thresholds(self) -> Float[np.ndarray, " bounds"]:
        """The lowest score accepted at each bound of cells: before the first cell, between two, after the last.

        Right above a level, the smallest number above it; before everything, the lowest level.
        """
        levels = self.levels.astype(np.float64)
        above = np.nextafter(self.levels, np.array(np.inf, self.levels.dtype)).astype(np.float64)
        return np.concatenate([levels[:1], np.stack([levels, above], axis=1).ravel(), [np.inf]])
