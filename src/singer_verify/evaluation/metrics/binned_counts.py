"""The score axis cut into bins, so that trials can be counted instead of kept.

With a bin at every score of a target trial (`BinnedCounts.from_scores`), counts give exactly the metrics of the scores;
`ScoreBins.thin` trades that for a size that does not grow with the number of trials. A resample without target or
without non-target trials has no rates: NaN.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.special import expit

from singer_verify.evaluation.metrics.error_rates import ErrorCurve, SortedScores


@dataclass(frozen=True)
class ScoreBins:
    """A bin for every level and one for each gap: below the first level, at it, between it and the second, and so on.

    Where the levels are all scores of target trials, no target trial lies between two levels, and equal scores of both
    kinds share a bin; counts per bin then give the same error rates as the scores themselves.

    Attributes:
        levels: rising, each once.
    """

    levels: Float[np.ndarray, " levels"]

    @classmethod
    def from_target_scores(cls, target_scores: Float[np.ndarray, " targets"]) -> "ScoreBins":
        """Build bins with a level at each of these scores."""
        return cls(np.unique(target_scores))

    def __len__(self) -> int:
        return 2 * len(self.levels) + 1

    def digitize(self, scores: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Return the number of the bin of each score, counted from the lowest."""
        below = np.searchsorted(self.levels, scores)
        is_at = self.levels[np.minimum(below, len(self.levels) - 1)] == scores
        below *= 2
        below += is_at
        return below

    def thin(self, max_levels: int) -> "ScoreBins":
        """Keep at most so many of the levels, the first and the last among them.

        Half of them are spread evenly over the ranks, half over the logits of the ranks, because the curve bends most
        where one of the two errors is rare.
        """
        num_levels = len(self.levels)
        if num_levels <= max_levels:
            return self
        even = np.linspace(0.0, 1.0, max_levels - max_levels // 2)
        max_logit = np.log(num_levels)
        from_logits = expit(np.linspace(-max_logit, max_logit, max_levels // 2))
        ranks = np.unique(np.concatenate([even, from_logits]) * (num_levels - 1)).round().astype(np.int64)
        return ScoreBins(self.levels[np.unique(ranks)])

    def map_to_coarser(self, coarser: "ScoreBins") -> Int[np.ndarray, " bins"]:
        """Return, for each of these bins, the coarser bin that contains it; the coarser levels are some of these."""
        mapping = np.empty(len(self), np.int64)
        mapping[1::2] = coarser.digitize(self.levels)
        mapping[0] = 0
        mapping[2::2] = 2 * np.searchsorted(coarser.levels, self.levels, side="right")
        return mapping

    @property
    def thresholds(self) -> Float[np.ndarray, " edges"]:
        """The lowest score accepted at each edge of a bin: before the first bin, between two, after the last.

        Right above a level, the smallest number above it; before everything, the lowest level.
        """
        levels = self.levels.astype(np.float64)
        above = np.nextafter(self.levels, np.array(np.inf, self.levels.dtype)).astype(np.float64)
        return np.concatenate([levels[:1], np.stack([levels, above], axis=1).ravel(), [np.inf]])


@dataclass(frozen=True)
class BinnedCounts:
    """Number of trials in each bin of the score axis, lowest first, in each resample.

    Attributes:
        thresholds: (bins + 1,), of the edges of the bins, see `ScoreBins.thresholds`.
        targets: (resamples, bins), trials of one singer.
        nontargets: (resamples, bins), trials of two singers.
    """

    thresholds: Float[np.ndarray, " edges"]
    targets: Num[np.ndarray, "resamples bins"]
    nontargets: Num[np.ndarray, "resamples bins"]

    @classmethod
    def from_scores(
        cls, scores: Float[np.ndarray, " trials"], is_target: Bool[np.ndarray, " trials"]
    ) -> "BinnedCounts":
        """Count trials that are all in memory, with a bin at every score of a target trial: one resample, exact.

        Raises:
            SingerVerifyError: see `SortedScores.from_trials`.
        """
        kinds = SortedScores.from_trials(scores, is_target)
        bins = ScoreBins.from_target_scores(kinds.targets)
        at_and_below = zip(kinds.count_below(bins.levels), kinds.count_below(bins.levels, "right"), strict=True)
        totals = len(kinds.targets), len(kinds.nontargets)
        counts = [
            np.diff(np.stack([below, at], axis=1).ravel(), prepend=0, append=total)[None]
            for (below, at), total in zip(at_and_below, totals, strict=True)
        ]
        return cls(bins.thresholds, *counts)

    @cached_property
    def curve(self) -> ErrorCurve:
        """Error rates where everything from an edge of a bin upwards is accepted."""
        below = [np.pad(kind.cumsum(axis=1), ((0, 0), (1, 0))) for kind in (self.targets, self.nontargets)]
        return ErrorCurve.from_cumulative_counts(self.thresholds, *below, *(kind[:, -1] for kind in below))
