"""Error rates of one system under many resamples of its singers, from scores that are sorted once."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.metrics import crossing, smallest_cost

RATES = ("eer", "min_dcf_0.01", "min_dcf_0.05")


@dataclass(frozen=True)
class SortedTrials:
    """Target and non-target trials in rising order of their scores, and the corners of their error curve.

    Between two target scores only false alarms change, so the curve is straight there: its corners alone give the same
    equal error rate and the same smallest cost as all its points.

    Attributes:
        target_singers: (targets,), whose trial each is.
        nontarget_pairs: (nontargets,), left singer × number of singers + right singer.
        target_corners: (corners,), how many target trials lie below each corner.
        nontarget_corners: (corners,), how many non-target trials do.
    """

    target_singers: Int[np.ndarray, " targets"]
    nontarget_pairs: Int[np.ndarray, " nontargets"]
    target_corners: Int[np.ndarray, " corners"]
    nontarget_corners: Int[np.ndarray, " corners"]


def resampled_rates(
    scores: Float[np.ndarray, " trials"],
    left_singers: Int[np.ndarray, " trials"],
    right_singers: Int[np.ndarray, " trials"],
    draws: Int[np.ndarray, "resamples singers"],
) -> Float[np.ndarray, "resamples 3"]:
    """The rates named in `RATES` for each resample; NaN where it leaves no target or no non-target trial.

    A trial counts as in `intervals.interval_over_singers`. A resample of every singer once gives the rates themselves.

    Args:
        scores: of one system.
        left_singers: numbered from 0.
        right_singers: the same singer in a target trial.
        draws: how often each singer counts.

    Raises:
        SingerVerifyError: a score is NaN or infinite.
    """
    if not np.isfinite(scores).all():
        raise SingerVerifyError(f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are NaN or infinite.")
    trials = _sorted(scores, left_singers, right_singers, draws.shape[1])
    return np.array([_rates(trials, counts) for counts in draws]).reshape(-1, len(RATES))


def _sorted(scores: np.ndarray, left: np.ndarray, right: np.ndarray, num_singers: int) -> SortedTrials:
    is_target = left == right
    target_order, nontarget_order = (np.argsort(scores[kind], kind="stable") for kind in (is_target, ~is_target))
    targets, nontargets = scores[is_target][target_order], scores[~is_target][nontarget_order]
    ends = np.flatnonzero(np.diff(targets, append=np.inf)) + 1  # equal target scores are one step
    starts = np.concatenate([[0], ends[:-1]])[: len(ends)]
    below, not_above = (np.searchsorted(nontargets, targets[ends - 1], side) for side in ("left", "right"))
    return SortedTrials(
        left[is_target][target_order],
        (left * num_singers + right)[~is_target][nontarget_order],
        np.concatenate([[0], np.stack([starts, ends], axis=1).ravel(), [len(targets)]]),
        np.concatenate([[0], np.stack([below, not_above], axis=1).ravel(), [len(nontargets)]]),
    )


def _rates(trials: SortedTrials, counts: Int[np.ndarray, " singers"]) -> tuple[float, float, float]:
    target_weight = _weight_below(counts[trials.target_singers], trials.target_corners)
    nontarget_weight = _weight_below(np.outer(counts, counts).ravel()[trials.nontarget_pairs], trials.nontarget_corners)
    if target_weight[-1] == 0 or nontarget_weight[-1] == 0:
        return np.nan, np.nan, np.nan
    miss, false_alarm = target_weight / target_weight[-1], 1.0 - nontarget_weight / nontarget_weight[-1]
    rate, *_ = crossing(miss, false_alarm)
    return rate, smallest_cost(miss, false_alarm, 0.01, 0.99), smallest_cost(miss, false_alarm, 0.05, 0.95)


def _weight_below(weights: Int[np.ndarray, " trials"], corners: np.ndarray) -> Int[np.ndarray, " corners"]:
    summed = np.zeros(len(weights) + 1, np.int64)
    np.cumsum(weights, out=summed[1:])
    return summed[corners]
