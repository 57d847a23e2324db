"""The axis of scores cut into cells, so that trials can be counted instead of kept."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.special import expit


@dataclass(frozen=True)
class ScoreBins:
    """Every score lies in one cell: under the first level, at it, between it and the second, at that, and so on.

    Where the levels are all scores that target trials have, no target trial lies between two levels, and equal scores
    of both kinds share a cell; counts per cell then give the same error rates as the scores themselves.

    Attributes:
        levels: rising, each once.
    """

    levels: Float[np.ndarray, " levels"]

    @classmethod
    def from_target_scores(cls, target_scores: Float[np.ndarray, " targets"]) -> "ScoreBins":
        """With a level at each of these scores."""
        return cls(np.unique(target_scores))

    def __len__(self) -> int:
        return 2 * len(self.levels) + 1

    def digitize(self, scores: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Number of the cell of each score, counted from the lowest."""
        below = np.searchsorted(self.levels, scores)
        is_at = self.levels[np.minimum(below, len(self.levels) - 1)] == scores
        below *= 2
        below += is_at
        return below

    def thin(self, most_levels: int) -> "ScoreBins":
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
        return ScoreBins(self.levels[np.unique(ranks)])

    def map_to_coarser(self, coarser: "ScoreBins") -> Int[np.ndarray, " cells"]:
        """For each of these cells, that of coarser ones in which it lies; their levels are some of these levels."""
        found = np.empty(len(self), np.int64)
        found[1::2] = coarser.digitize(self.levels)
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


@dataclass(frozen=True)
class BinnedCounts:
    """How many trials lie in each cell of the score axis, lowest first.

    Attributes:
        targets: (resamples, cells), trials of one singer.
        nontargets: (resamples, cells), trials of two.
    """

    targets: Num[np.ndarray, "resamples cells"]
    nontargets: Num[np.ndarray, "resamples cells"]

    @cached_property
    def rates(self) -> tuple[Float[np.ndarray, "resamples bounds"], Float[np.ndarray, "resamples bounds"]]:
        """Misses and false alarms where everything from a bound of cells upwards is accepted."""
        below = [np.concatenate([np.zeros((len(each), 1)), each.cumsum(axis=1)], axis=1) for each in self._kinds]
        with np.errstate(invalid="ignore", divide="ignore"):
            miss, rejection = (each / each[:, -1:] for each in below)
        return miss, 1.0 - rejection

    @property
    def _kinds(self) -> tuple[np.ndarray, np.ndarray]:
        return self.targets, self.nontargets


def compute_binned_eers(
    tally: BinnedCounts, thresholds: Float[np.ndarray, " bounds"]
) -> tuple[Float[np.ndarray, " resamples"], Float[np.ndarray, " resamples"]]:
    """Where misses and false alarms are equally frequent, and the threshold there, both interpolated linearly.

    Args:
        tally: of the trials.
        thresholds: of the bounds, see `ScoreBins.thresholds`.
    """
    miss, false_alarm = tally.rates
    excess = miss - false_alarm
    after = np.argmax(excess >= 0.0, axis=1)  # 0 only where there are no rates
    rows, before = np.arange(len(miss)), np.maximum(after - 1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = -excess[rows, before] / (excess[rows, after] - excess[rows, before])
    rate = miss[rows, before] + share * (miss[rows, after] - miss[rows, before])
    low = thresholds[before]
    high = np.where(np.isfinite(thresholds[after]), thresholds[after], low)
    return rate, low + share * (high - low)


def compute_binned_min_dcfs(tally: BinnedCounts, p_target: float) -> Float[np.ndarray, " resamples"]:
    """Smallest detection cost over all bounds, see `error_rates.compute_min_dcf`, both errors costing 1."""
    miss, false_alarm = tally.rates
    costs = p_target * miss + (1.0 - p_target) * false_alarm
    smallest: np.ndarray = costs.min(axis=1) / min(p_target, 1.0 - p_target)
    return smallest


def compute_binned_aucs(tally: BinnedCounts) -> Float[np.ndarray, " resamples"]:
    """How often a target trial scores higher than a non-target trial, equal scores counting half.

    The area under the receiver operating characteristic: Hanley & McNeil 1982, The meaning and use of the area under a
    receiver operating characteristic (ROC) curve, Radiology 143 (1).
    """
    miss, false_alarm = tally.rates
    widths = -np.diff(false_alarm, axis=1)
    hits = 1.0 - miss
    area: np.ndarray = (widths * (hits[:, 1:] + hits[:, :-1]) / 2.0).sum(axis=1)
    return area


def compute_binned_miss_rates(
    tally: BinnedCounts, false_alarms: Float[np.ndarray, " points"]
) -> Float[np.ndarray, "resamples points"]:
    """Miss rates at the lowest bounds that keep false alarms at or under the given rates."""
    miss, false_alarm = tally.rates
    first: list[Int[np.ndarray, " points"]] = [np.searchsorted(-row, -false_alarms, side="left") for row in false_alarm]
    return np.stack([row[places] for row, places in zip(miss, first, strict=True)])
