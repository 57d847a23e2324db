"""Error rates of a verification system, from the scores of all its trials at once.

Conventions: a trial is accepted if its score is at least the threshold. The miss rate is the share of target trials
that are rejected, the false-alarm rate the share of non-target trials that are accepted. Equal scores cannot be told
apart by any threshold, so they form one point of a curve.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from singer_verify.errors import SingerVerifyError


@dataclass(frozen=True)
class ErrorCurve:
    """Error rates at the thresholds where the curve bends, in rising order; the last, infinity, rejects all.

    Between two scores of target trials only false alarms change, and the curve is straight there: its corners alone
    give the same equal error rate and the same smallest cost as all its points.

    Attributes:
        thresholds: (points,), the lowest score accepted.
        miss: (points,), rising from 0 to 1.
        false_alarm: (points,), falling from 1 to 0.
    """

    thresholds: Float[np.ndarray, " points"]
    miss: Float[np.ndarray, " points"]
    false_alarm: Float[np.ndarray, " points"]


@dataclass(frozen=True)
class SortedScores:
    """Scores of either kind of trials, rising.

    Attributes:
        targets: (targets,).
        nontargets: (nontargets,).
    """

    targets: Float[np.ndarray, " targets"]
    nontargets: Float[np.ndarray, " nontargets"]

    @classmethod
    def of(cls, scores: Float[np.ndarray, " trials"], is_target: Bool[np.ndarray, " trials"]) -> "SortedScores":
        """
        Raises:
            SingerVerifyError: a score is NaN or infinite, or one of the two kinds of trials is missing.
        """
        kinds = cls(scores[is_target], scores[~is_target])
        for kind in (kinds.targets, kinds.nontargets):
            kind.sort()
        if not (len(kinds.targets) and len(kinds.nontargets)):
            raise SingerVerifyError(
                f"{len(kinds.targets)} target and {len(kinds.nontargets)} non-target trials; error rates need both "
                f"kinds: two utterances of one singer, and two singers."
            )
        ends = [each[place] for each in (kinds.targets, kinds.nontargets) for place in (0, -1)]
        if not np.isfinite(ends).all():  # NaN is sorted to the end
            raise SingerVerifyError(f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are NaN or infinite.")
        return kinds

    def rates(
        self, thresholds: Float[np.ndarray, " points"]
    ) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
        """Misses and false alarms with these thresholds."""
        miss, rejection = (
            np.searchsorted(kind, thresholds.astype(kind.dtype)) / len(kind) for kind in (self.targets, self.nontargets)
        )
        return miss, 1.0 - rejection

    def has_crossed(self, score: float, side: Literal["left", "right"]) -> bool:
        """Whether misses are at least as frequent as false alarms, with the threshold at a score or right above it."""
        missed, rejected = (
            int(np.searchsorted(kind, kind.dtype.type(score), side)) for kind in (self.targets, self.nontargets)
        )
        return missed * len(self.nontargets) >= (len(self.nontargets) - rejected) * len(self.targets)

    def find_next_above(self, scores: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
        """The lowest score of any trial above each of these; infinity where there is none."""
        nearest = np.full(len(scores), np.inf)
        for kind in (self.targets, self.nontargets):
            places = np.searchsorted(kind, scores, side="right")
            found = np.where(places < len(kind), kind[np.minimum(places, len(kind) - 1)], np.inf)
            nearest = np.minimum(nearest, found)
        return nearest


def compute_error_curve(scores: Float[np.ndarray, " trials"], is_target: Bool[np.ndarray, " trials"]) -> ErrorCurve:
    """Miss and false-alarm rates over all thresholds.

    Raises:
        SingerVerifyError: see `SortedScores.of`.
    """
    kinds = SortedScores.of(scores, is_target)
    levels = np.unique(kinds.targets)
    lowest = min(kinds.targets[0], kinds.nontargets[0])
    thresholds = np.unique(
        np.concatenate([[lowest], levels, kinds.find_next_above(levels), [np.inf]]).astype(np.float64)
    )
    return ErrorCurve(thresholds, *kinds.rates(thresholds))


def compute_eer(scores: Float[np.ndarray, " trials"], is_target: Bool[np.ndarray, " trials"]) -> tuple[float, float]:
    """The rate at which misses and false alarms are equally frequent, and its threshold.

    Where no threshold makes them equal, both are interpolated linearly between the two thresholds on either side.

    Raises:
        SingerVerifyError: see `SortedScores.of`.
    """
    kinds = SortedScores.of(scores, is_target)
    before = _find_last_before_crossing(kinds)
    above = kinds.find_next_above(before)
    miss, false_alarm = (float(rate[0]) for rate in kinds.rates(before))
    miss_above, false_alarm_above = (float(rate[0]) for rate in kinds.rates(above))
    rise, fall = miss_above - miss, false_alarm - false_alarm_above
    share = (false_alarm - miss) / (rise + fall)
    low, high = float(before[0]), float(above[0])
    return miss + share * rise, low + share * (high - low) if math.isfinite(high) else low


def _find_last_before_crossing(kinds: SortedScores) -> Float[np.ndarray, " 1"]:
    """The score right above which there are, for the first time, at least as many misses as false alarms."""
    low, high = 0, len(kinds.targets) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if kinds.has_crossed(float(kinds.targets[middle]), "right") else (middle + 1, high)
    if not kinds.has_crossed(float(kinds.targets[low]), "left"):
        return kinds.targets[[low]]
    missed = int(np.searchsorted(kinds.targets, kinds.targets[low]))  # they meet lower, where misses stay as they are
    fewest_rejected = -(-len(kinds.nontargets) * (len(kinds.targets) - missed) // len(kinds.targets))
    return kinds.nontargets[[max(fewest_rejected - 1, 0)]]


def compute_min_dcf(
    scores: Float[np.ndarray, " trials"],
    is_target: Bool[np.ndarray, " trials"],
    p_target: float,
    miss_cost: float = 1.0,
    false_alarm_cost: float = 1.0,
) -> float:
    """Smallest detection cost over all thresholds, divided by the cost of deciding without listening.

    NIST speaker recognition evaluation plan 2016, section 3.1.

    Args:
        scores: of all trials.
        is_target: whether both sides of a trial are one singer.
        p_target: assumed share of target trials.
        miss_cost: of rejecting a target trial.
        false_alarm_cost: of accepting a non-target trial.

    Raises:
        SingerVerifyError: see `SortedScores.of`.
    """
    curve = compute_error_curve(scores, is_target)
    miss_weight, false_alarm_weight = p_target * miss_cost, (1.0 - p_target) * false_alarm_cost
    costs = miss_weight * curve.miss + false_alarm_weight * curve.false_alarm
    return float(costs.min() / min(miss_weight, false_alarm_weight))


MIN_DET_RATE, MAX_DET_RATE = 0.001, 0.6  # of both axes


def build_false_alarm_grid(num_points: int = 200) -> Float[np.ndarray, " points"]:
    """False-alarm rates equally far apart on a normal-deviate axis, rising."""
    low, high = (NormalDist().inv_cdf(rate) for rate in (MIN_DET_RATE, MAX_DET_RATE))
    return np.array([NormalDist().cdf(deviate) for deviate in np.linspace(low, high, num_points)])


def compute_miss_rates(
    scores: Float[np.ndarray, " trials"],
    is_target: Bool[np.ndarray, " trials"],
    false_alarms: Float[np.ndarray, " points"],
) -> Float[np.ndarray, " points"]:
    """Miss rates at the lowest thresholds that keep the false-alarm rate at or under the given ones.

    Several systems' curves are averaged point by point: vertical averaging, Fawcett 2006, An introduction to ROC
    analysis, Pattern Recognition Letters 27, section 8.1.

    Raises:
        SingerVerifyError: see `error_rates.compute_error_curve`.
    """
    curve = compute_error_curve(scores, is_target)
    first = np.searchsorted(-curve.false_alarm, -false_alarms, side="left")
    return curve.miss[first]
