"""Error rates from counts of trials, many resamples at once.

Conventions: those of `metrics`. A resample that leaves one kind of trials out has no rates: NaN.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, Num


@dataclass(frozen=True)
class Tally:
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


def equal_error_rates(
    tally: Tally, thresholds: Float[np.ndarray, " bounds"]
) -> tuple[Float[np.ndarray, " resamples"], Float[np.ndarray, " resamples"]]:
    """Where misses and false alarms are equally frequent, and the threshold there, both interpolated linearly.

    Args:
        tally: of the trials.
        thresholds: of the bounds, see `Cells.thresholds`.
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


def min_dcfs(tally: Tally, p_target: float) -> Float[np.ndarray, " resamples"]:
    """Smallest detection cost over all bounds, see `metrics.min_dcf`, both errors costing 1."""
    miss, false_alarm = tally.rates
    costs = p_target * miss + (1.0 - p_target) * false_alarm
    smallest: np.ndarray = costs.min(axis=1) / min(p_target, 1.0 - p_target)
    return smallest


def areas_under_curve(tally: Tally) -> Float[np.ndarray, " resamples"]:
    """How often a target trial scores higher than a non-target trial, equal scores counting half.

    The area under the receiver operating characteristic: Hanley & McNeil 1982, The meaning and use of the area under a
    receiver operating characteristic (ROC) curve, Radiology 143 (1).
    """
    miss, false_alarm = tally.rates
    widths = -np.diff(false_alarm, axis=1)
    hits = 1.0 - miss
    area: np.ndarray = (widths * (hits[:, 1:] + hits[:, :-1]) / 2.0).sum(axis=1)
    return area


def misses_at(tally: Tally, false_alarms: Float[np.ndarray, " points"]) -> Float[np.ndarray, "resamples points"]:
    """Miss rates at the lowest bounds that keep false alarms at or under the given rates."""
    miss, false_alarm = tally.rates
    first: list[Int[np.ndarray, " points"]] = [np.searchsorted(-row, -false_alarms, side="left") for row in false_alarm]
    return np.stack([row[places] for row, places in zip(miss, first, strict=True)])
