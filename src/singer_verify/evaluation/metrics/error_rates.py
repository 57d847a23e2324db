"""Error rates of a verification system from the scores of all its trials, and its detection error trade-off (DET).

Conventions: a trial is accepted if its score is at least the threshold. The miss rate is the share of target trials
that are rejected, the false-alarm rate the share of non-target trials that are accepted. No threshold separates equal
scores, so they form one point of a curve.

Every rate in the package comes from `ErrorCurve`, that is from the numbers of trials below a few thresholds. The
thresholds are all scores of target trials where the scores are in memory (`compute_eer`, `BinnedCounts.from_scores`),
and the edges of score bins where they are counted as they stream by (`BinnedCounts`).

DET curves: Martin, Doddington, Kamm, Ordowski & Przybocki 1997, The DET curve in assessment of detection task
performance, Eurospeech.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from singer_verify.errors import SingerVerifyError

MIN_DET_RATE, MAX_DET_RATE = 0.001, 0.6  # range of both axes of a DET plot


@dataclass(frozen=True)
class ErrorCurve:
    """Error rates at rising thresholds, of one system or of many resamples of it.

    Between two scores of target trials only false alarms change, and the curve is straight there: its corners alone
    give the same equal error rate, the same smallest cost and the same area as all its points.

    Attributes:
        thresholds: (points,), the lowest score accepted; the last one rejects everything.
        miss: (..., points), rising to 1; NaN where there are no target trials.
        false_alarm: (..., points), falling to 0; NaN where there are no non-target trials.
    """

    thresholds: Float[np.ndarray, " points"]
    miss: Float[np.ndarray, "*resamples points"]
    false_alarm: Float[np.ndarray, "*resamples points"]

    @classmethod
    def from_cumulative_counts(
        cls,
        thresholds: Float[np.ndarray, " points"],
        num_missed: Num[np.ndarray, "*resamples points"],
        num_rejected: Num[np.ndarray, "*resamples points"],
        num_targets: Num[np.ndarray, "*resamples"] | int,
        num_nontargets: Num[np.ndarray, "*resamples"] | int,
    ) -> "ErrorCurve":
        """Build the curve from the numbers of trials that score below each threshold.

        Args:
            thresholds: rising.
            num_missed: target trials below each.
            num_rejected: non-target trials below each.
            num_targets: all target trials.
            num_nontargets: all non-target trials.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            miss = num_missed / np.asarray(num_targets)[..., None]
            false_alarm = 1.0 - num_rejected / np.asarray(num_nontargets)[..., None]
        return cls(thresholds, miss, false_alarm)

    def compute_eer(self) -> tuple[Float[np.ndarray, "*resamples"], Float[np.ndarray, "*resamples"]]:
        """Compute the rate at which misses and false alarms are equally frequent, and its threshold.

        Where no point makes them equal, both are interpolated linearly between the two points on either side.
        """
        excess = self.miss - self.false_alarm
        after = np.argmax(excess >= 0.0, axis=-1, keepdims=True)  # 0 only where there are no rates
        before = np.maximum(after - 1, 0)
        (miss_before, miss_after), (excess_before, excess_after) = (
            [np.take_along_axis(values, places, axis=-1) for places in (before, after)]
            for values in (self.miss, excess)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            share = -excess_before / (excess_after - excess_before)
        low, high = self.thresholds[before], self.thresholds[after]
        high = np.where(np.isfinite(high), high, low)
        return (miss_before + share * (miss_after - miss_before))[..., 0], (low + share * (high - low))[..., 0]

    def compute_min_dcf(
        self, p_target: float, miss_cost: float = 1.0, false_alarm_cost: float = 1.0
    ) -> Float[np.ndarray, "*resamples"]:
        """Compute the smallest detection cost over all thresholds, see the function `compute_min_dcf`."""
        miss_weight, false_alarm_weight = p_target * miss_cost, (1.0 - p_target) * false_alarm_cost
        costs = miss_weight * self.miss + false_alarm_weight * self.false_alarm
        return np.asarray(costs.min(axis=-1) / min(miss_weight, false_alarm_weight))

    def compute_auc(self) -> Float[np.ndarray, "*resamples"]:
        """Compute how often a target trial scores higher than a non-target trial, equal scores counting half.

        The area under the receiver operating characteristic: Hanley & McNeil 1982, The meaning and use of the area
        under a receiver operating characteristic (ROC) curve, Radiology 143 (1).
        """
        widths, hits = -np.diff(self.false_alarm), 1.0 - self.miss
        return np.asarray((widths * (hits[..., 1:] + hits[..., :-1]) / 2.0).sum(axis=-1))

    def compute_miss_rates(self, false_alarms: Float[np.ndarray, " rates"]) -> Float[np.ndarray, "*resamples rates"]:
        """Look up the miss rates at the lowest thresholds that keep false alarms at or below the given rates."""
        rows = self.miss.reshape(-1, self.miss.shape[-1]), self.false_alarm.reshape(-1, self.miss.shape[-1])
        rates = [
            miss[np.searchsorted(-false_alarm, -false_alarms, side="left")]
            for miss, false_alarm in zip(*rows, strict=True)
        ]
        return np.stack(rates).reshape(*self.miss.shape[:-1], len(false_alarms))


@dataclass(frozen=True)
class SortedScores:
    """Scores of both kinds of trials, rising.

    Attributes:
        targets: (targets,).
        nontargets: (nontargets,).
    """

    targets: Float[np.ndarray, " targets"]
    nontargets: Float[np.ndarray, " nontargets"]

    @classmethod
    def from_trials(
        cls, scores: Float[np.ndarray, " trials"], is_target: Bool[np.ndarray, " trials"]
    ) -> "SortedScores":
        """Sort the scores of each kind.

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
        extremes = [kind[place] for kind in (kinds.targets, kinds.nontargets) for place in (0, -1)]
        if not np.isfinite(extremes).all():  # NaN is sorted to the end
            raise SingerVerifyError(f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are NaN or infinite.")
        return kinds

    def count_below(
        self, thresholds: Float[np.ndarray, " points"], side: Literal["left", "right"] = "left"
    ) -> tuple[Int[np.ndarray, " points"], Int[np.ndarray, " points"]]:
        """Count target and non-target trials below each threshold; with `side="right"`, at or below it."""
        missed, rejected = (
            np.searchsorted(kind, thresholds.astype(kind.dtype), side) for kind in (self.targets, self.nontargets)
        )
        return missed, rejected

    def build_curve(
        self, thresholds: Float[np.ndarray, " points"], side: Literal["left", "right"] = "left"
    ) -> ErrorCurve:
        """Build the curve at these thresholds; with `side="right"`, right above them."""
        counts = *self.count_below(thresholds, side), len(self.targets), len(self.nontargets)
        return ErrorCurve.from_cumulative_counts(thresholds.astype(np.float64), *counts)

    def find_next_above(self, scores: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
        """Find the lowest score of any trial above each of these; infinity where there is none."""
        nearest = np.full(len(scores), np.inf)
        for kind in (self.targets, self.nontargets):
            places = np.searchsorted(kind, scores, side="right")
            above = np.where(places < len(kind), kind[np.minimum(places, len(kind) - 1)], np.inf)
            nearest = np.minimum(nearest, above)
        return nearest

    def find_crossing(self) -> Float[np.ndarray, " 2"]:
        """Find the two adjacent scores between which misses become at least as frequent as false alarms.

        A bisection, since sorting dominates: a curve of 10⁸ points would take several times as long.
        """
        before = self.targets[_bisect(len(self.targets), lambda place: self._has_crossed(self.targets[[place]]))]
        if self._has_crossed(np.array([before]), "left"):  # lower thresholds, where misses do not change
            lower = _bisect(len(self.nontargets), lambda place: self._has_crossed(self.nontargets[[place]]))
            before = self.nontargets[lower]
        low = np.array([before])
        return np.concatenate([low, self.find_next_above(low)]).astype(np.float64)

    def _has_crossed(self, score: np.ndarray, side: Literal["left", "right"] = "right") -> bool:
        curve = self.build_curve(score, side)
        return bool(curve.miss[0] - curve.false_alarm[0] >= 0.0)  # same rule as `ErrorCurve.compute_eer`


def _bisect(size: int, is_reached: Callable[[int], bool]) -> int:
    """Return the first place where a condition holds that stays true from there on; the last, if it never does."""
    low, high = 0, size - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_reached(middle) else (middle + 1, high)
    return low


def compute_error_curve(scores: Float[np.ndarray, " trials"], is_target: Bool[np.ndarray, " trials"]) -> ErrorCurve:
    """Compute miss and false-alarm rates over all thresholds.

    Raises:
        SingerVerifyError: see `SortedScores.from_trials`.
    """
    kinds = SortedScores.from_trials(scores, is_target)
    levels = np.unique(kinds.targets)
    lowest = min(kinds.targets[0], kinds.nontargets[0])
    thresholds = np.concatenate([[lowest], levels, kinds.find_next_above(levels), [np.inf]])
    return kinds.build_curve(np.unique(thresholds.astype(np.float64)))


def compute_eer(scores: Float[np.ndarray, " trials"], is_target: Bool[np.ndarray, " trials"]) -> tuple[float, float]:
    """Compute the equal error rate of all scores at once, and its threshold, see `ErrorCurve.compute_eer`.

    Raises:
        SingerVerifyError: see `SortedScores.from_trials`.
    """
    kinds = SortedScores.from_trials(scores, is_target)
    rate, threshold = kinds.build_curve(kinds.find_crossing()).compute_eer()
    return float(rate), float(threshold)


def compute_min_dcf(
    scores: Float[np.ndarray, " trials"],
    is_target: Bool[np.ndarray, " trials"],
    p_target: float,
    miss_cost: float = 1.0,
    false_alarm_cost: float = 1.0,
) -> float:
    """Compute the smallest detection cost over all thresholds, divided by the cost of the better constant decision.

    NIST speaker recognition evaluation plan 2016, section 3.1.

    Args:
        scores: scores of all trials.
        is_target: whether both sides of a trial are the same singer.
        p_target: assumed prior probability of a target trial.
        miss_cost: cost of rejecting a target trial.
        false_alarm_cost: cost of accepting a non-target trial.

    Raises:
        SingerVerifyError: see `SortedScores.from_trials`.
    """
    return float(compute_error_curve(scores, is_target).compute_min_dcf(p_target, miss_cost, false_alarm_cost))


def build_false_alarm_grid(num_points: int = 200) -> Float[np.ndarray, " points"]:
    """Return rising false-alarm rates, equally spaced on a normal-deviate axis."""
    low, high = (NormalDist().inv_cdf(rate) for rate in (MIN_DET_RATE, MAX_DET_RATE))
    return np.array([NormalDist().cdf(deviate) for deviate in np.linspace(low, high, num_points)])


def compute_miss_rates(
    scores: Float[np.ndarray, " trials"],
    is_target: Bool[np.ndarray, " trials"],
    false_alarms: Float[np.ndarray, " points"],
) -> Float[np.ndarray, " points"]:
    """Compute miss rates at the lowest thresholds that keep the false-alarm rate at or below the given ones.

    The curves of several systems can be averaged point by point: vertical averaging, Fawcett 2006, An introduction to
    ROC analysis, Pattern Recognition Letters 27, section 8.1.

    Raises:
        SingerVerifyError: see `SortedScores.from_trials`.
    """
    return compute_error_curve(scores, is_target).compute_miss_rates(false_alarms)
