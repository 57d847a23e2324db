"""Draws of singers: trials of one singer are not independent, so a bootstrap resamples singers, not trials."""

import numpy as np
from jaxtyping import Bool, Int

from singer_verify.errors import SingerVerifyError


def trials_between(
    left_singers: Int[np.ndarray, " trials"], right_singers: Int[np.ndarray, " trials"], num_singers: int
) -> Bool[np.ndarray, "singers singers"]:
    """Which singers have trials with which."""
    has_trials = np.zeros((num_singers, num_singers), bool)
    has_trials[left_singers, right_singers] = True
    return has_trials


def draw_singers(
    has_trials: Bool[np.ndarray, "singers singers"], num_resamples: int, seed: int = 0
) -> Int[np.ndarray, "resamples singers"]:
    """How often each singer is drawn in each resample of a bootstrap: as many draws as singers, with replacement.

    Efron & Tibshirani 1993, An introduction to the bootstrap, chapter 13. Draws that leave no target trial or no
    non-target trial (fewer than two different singers) are drawn again.

    Args:
        has_trials: of each singer against each; on the diagonal, target trials.
        num_resamples: of the bootstrap.
        seed: of the draws.

    Raises:
        SingerVerifyError: the trials are of fewer than two singers, or all of one kind.
    """
    num_singers = len(has_trials)
    if num_singers < 2:
        raise SingerVerifyError(f"{num_singers} singers: an interval over singers needs at least 2.")
    has_targets, everyone = has_trials.diagonal(), np.arange(num_singers)
    if not has_targets.any() or not _has_nontargets(has_trials, everyone):
        raise SingerVerifyError("trials of one kind only: an interval over singers needs target and non-target trials.")
    generator = np.random.default_rng(seed)
    draws: list[np.ndarray] = []
    while len(draws) < num_resamples:
        counts = np.bincount(generator.integers(num_singers, size=num_singers), minlength=num_singers)
        drawn = np.flatnonzero(counts)
        if has_targets[drawn].any() and _has_nontargets(has_trials, drawn):
            draws.append(counts)
    return np.stack(draws)


def _has_nontargets(has_trials: Bool[np.ndarray, "singers singers"], among: Int[np.ndarray, " drawn"]) -> bool:
    return any((has_trials[singer, among] & (among != singer)).any() for singer in among)
