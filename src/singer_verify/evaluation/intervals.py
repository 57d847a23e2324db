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

    Singers are drawn with replacement; a trial counts as often as both its singers were drawn, a target trial as often
    as its one singer was (two copies of a singer would otherwise be trials of a singer against himself). Draws with
    fewer than two different singers have no non-target trial and are drawn again. Efron & Tibshirani 1993, chapter 13.

    Args:
        statistic: of the trials' weights.
        left_singers: (trials,), numbered from 0.
        right_singers: (trials,).
        num_resamples: of the bootstrap.
        seed: of the draws.

    Raises:
        SingerVerifyError: fewer than two singers.
    """
    num_singers = int(max(left_singers.max(initial=-1), right_singers.max(initial=-1))) + 1
    if num_singers < 2:
        raise SingerVerifyError(f"{num_singers} singers: an interval over singers needs at least 2.")
    generator = np.random.default_rng(seed)
    is_target = left_singers == right_singers
    values: list[float] = []
    while len(values) < num_resamples:
        counts = np.bincount(generator.integers(num_singers, size=num_singers), minlength=num_singers).astype(
            np.float64
        )
        weights = np.where(is_target, counts[left_singers], counts[left_singers] * counts[right_singers])
        if (weights[~is_target] > 0).any() and (weights[is_target] > 0).any():
            values.append(statistic(weights))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
