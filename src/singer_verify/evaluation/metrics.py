"""Error rates of a verification system, from the scores of all its trials at once.

Conventions: a trial is accepted if its score is at least the threshold. The miss rate is the share of target trials
that are rejected, the false-alarm rate the share of non-target trials that are accepted. Equal scores cannot be told
apart by any threshold, so they form one point of a curve. Trials may carry weights (how often each counts).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from singer_verify.errors import SingerVerifyError


@dataclass(frozen=True)
class ErrorCurve:
    """Error rates at every threshold that makes a difference, in rising order; the last, infinity, rejects all.

    Attributes:
        thresholds: (points,).
        miss: (points,), rising from 0 to 1.
        false_alarm: (points,), falling from 1 to 0.
    """

    thresholds: Float[np.ndarray, " points"]
    miss: Float[np.ndarray, " points"]
    false_alarm: Float[np.ndarray, " points"]


def error_curve(
    scores: Float[np.ndarray, " trials"],
    is_target: Bool[np.ndarray, " trials"],
    weights: Float[np.ndarray, " trials"] | None = None,
) -> ErrorCurve:
    """Miss and false-alarm rates over all thresholds.

    Raises:
        SingerVerifyError: a score is NaN or infinite, or one of the two kinds of trials is missing.
    """
    if not np.isfinite(scores).all():
        raise SingerVerifyError(f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are NaN or infinite.")
    weights = np.ones(scores.size) if weights is None else weights
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    target_weight = np.where(is_target, weights, 0.0)[order].cumsum()
    nontarget_weight = np.where(is_target, 0.0, weights)[order].cumsum()
    if scores.size == 0 or target_weight[-1] == 0 or nontarget_weight[-1] == 0:
        raise SingerVerifyError(
            f"{int(is_target.sum())} target and {int((~is_target).sum())} non-target trials; error rates need both "
            f"kinds: two utterances of one singer, and two singers."
        )
    last_of_equals = np.append(np.flatnonzero(np.diff(ordered)), scores.size - 1)
    miss = np.concatenate([[0.0], target_weight[last_of_equals] / target_weight[-1]])
    correct_rejection = np.concatenate([[0.0], nontarget_weight[last_of_equals] / nontarget_weight[-1]])
    first_of_equals = np.concatenate([[0], last_of_equals[:-1] + 1])
    thresholds = np.append(ordered[first_of_equals].astype(np.float64), np.inf)
    return ErrorCurve(thresholds, miss, 1.0 - correct_rejection)


def equal_error_rate(
    scores: Float[np.ndarray, " trials"],
    is_target: Bool[np.ndarray, " trials"],
    weights: Float[np.ndarray, " trials"] | None = None,
) -> tuple[float, float]:
    """The rate at which misses and false alarms are equally frequent, and its threshold.

    Where no threshold makes them equal, both are interpolated linearly between the two thresholds on either side.

    Raises:
        SingerVerifyError: see `error_curve`.
    """
    curve = error_curve(scores, is_target, weights)
    rate, before, share = crossing(curve.miss, curve.false_alarm)
    if not np.isfinite(curve.thresholds[before + 1]):
        return rate, float(curve.thresholds[before])
    threshold = curve.thresholds[before] + share * (curve.thresholds[before + 1] - curve.thresholds[before])
    return rate, float(threshold)


def crossing(miss: Float[np.ndarray, " points"], false_alarm: Float[np.ndarray, " points"]) -> tuple[float, int, float]:
    """Where the two rates of a curve meet: the rate, the point before it, and how far it lies towards the next."""
    excess = miss - false_alarm
    after = int(np.argmax(excess >= 0.0))
    before = after - 1
    share = -excess[before] / (excess[after] - excess[before])
    return float(miss[before] + share * (miss[after] - miss[before])), before, float(share)


def min_dcf(
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
        SingerVerifyError: see `error_curve`.
    """
    curve = error_curve(scores, is_target)
    return smallest_cost(curve.miss, curve.false_alarm, p_target * miss_cost, (1.0 - p_target) * false_alarm_cost)


def smallest_cost(
    miss: Float[np.ndarray, " points"],
    false_alarm: Float[np.ndarray, " points"],
    miss_weight: float,
    false_alarm_weight: float,
) -> float:
    """Smallest weighted sum of the two rates along a curve, divided by that of deciding without listening."""
    costs = miss_weight * miss + false_alarm_weight * false_alarm
    return float(costs.min() / min(miss_weight, false_alarm_weight))
