"""Intervals that respect singers: trials of one singer are not independent, so singers are resampled, not trials."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from singer_verify.errors import SingerVerifyError


def interval_over_singers(
    statistic: Callable[[Float[np.ndarray, " trials"]], float],
    left_singers: Int[np.ndarray, " trials"],
    right_singers: Int[np.ndarray, " trials"],
    num_resamples: int = 500,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % percentile interval of a statistic of weighted trials, from a bootstrap over singers.

    A trial counts as often as both its singers were drawn, a target trial as often as its one singer was (two copies of
    a singer would otherwise be trials of a singer against himself). Efron & Tibshirani 1993, chapter 13.

    Args:
        statistic: of the trials' weights.
        left_singers: (trials,), numbered from 0.
        right_singers: (trials,).
        num_resamples: of the bootstrap.
        seed: of the draws.

    Raises:
        SingerVerifyError: see `draw_singers`.
    """
    is_target = left_singers == right_singers
    values = []
    for counts in draw_singers(left_singers, right_singers, num_resamples, seed).astype(np.float64):
        weights = np.where(is_target, counts[left_singers], counts[left_singers] * counts[right_singers])
        values.append(statistic(weights))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def draw_singers(
    left_singers: Int[np.ndarray, " trials"],
    right_singers: Int[np.ndarray, " trials"],
    num_resamples: int,
    seed: int = 0,
) -> Int[np.ndarray, "resamples singers"]:
    """How often each singer is drawn in each resample of a bootstrap: as many draws as singers, with replacement.

    Draws that leave no target trial or no non-target trial (fewer than two different singers) are drawn again.

    Raises:
        SingerVerifyError: the trials are of fewer than two singers, or all of one kind.
    """
    num_singers = int(max(left_singers.max(initial=-1), right_singers.max(initial=-1))) + 1
    if num_singers < 2:
        raise SingerVerifyError(f"{num_singers} singers: an interval over singers needs at least 2.")
    has_trials = np.zeros((num_singers, num_singers), np.int64)  # of each singer against each
    has_trials[left_singers, right_singers] = 1
    has_targets = has_trials.diagonal()
    has_nontargets = has_trials - np.diag(has_targets)
    if not has_targets.any() or not has_nontargets.any():
        raise SingerVerifyError("trials of one kind only: an interval over singers needs target and non-target trials.")
    generator = np.random.default_rng(seed)
    draws: list[np.ndarray] = []
    while len(draws) < num_resamples:
        counts = np.bincount(generator.integers(num_singers, size=num_singers), minlength=num_singers)
        if counts @ has_targets and counts @ has_nontargets @ counts:
            draws.append(counts)
    return np.stack(draws)
