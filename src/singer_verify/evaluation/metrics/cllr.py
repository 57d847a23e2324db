"""The cost of log-likelihood ratios (Cllr): the information lost per trial, in bits.

Conventions: log-likelihood ratios are natural; positive ones favour the same singer. An oracle loses 0 bits, a system
that answers 0 to everything loses 1, and more than 1 is worse than no answer. Both kinds of trials count as one half,
however many there are. Trials may carry weights (how often each counts). Brümmer & du Preez 2006,
Application-independent evaluation of speaker detection, Computer Speech & Language 20.
"""

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.optimize import isotonic_regression

from singer_verify.errors import SingerVerifyError

BITS_PER_NAT = 1.0 / np.log(2.0)


def compute_cllr(
    log_likelihood_ratios: Float[np.ndarray, " trials"],
    is_target: Bool[np.ndarray, " trials"],
    weights: Float[np.ndarray, " trials"] | None = None,
) -> float:
    """Compute the cost of the ratios as they are; infinite if an infinite ratio favours the wrong answer.

    Raises:
        SingerVerifyError: a ratio is NaN, or one of the two kinds of trials is missing.
    """
    ratios = np.asarray(log_likelihood_ratios, np.float64)
    if np.isnan(ratios).any():
        raise SingerVerifyError(f"{int(np.isnan(ratios).sum())} of {ratios.size} log-likelihood ratios are NaN.")
    target_weight, nontarget_weight = _split_weights_by_kind(is_target, weights)
    counted = target_weight + nontarget_weight > 0.0  # 0 × infinity is no cost
    costs = np.logaddexp(0.0, np.where(is_target, -ratios, ratios)[counted])
    shares = target_weight / target_weight.sum() + nontarget_weight / nontarget_weight.sum()
    return float(0.5 * BITS_PER_NAT * (shares[counted] @ costs))


def compute_min_cllr(
    scores: Float[np.ndarray, " trials"],
    is_target: Bool[np.ndarray, " trials"],
    weights: Float[np.ndarray, " trials"] | None = None,
) -> float:
    """Compute the cost of the best ratios in the order of the scores: the loss that no calibration can recover.

    Equal scores get equal ratios.

    Raises:
        SingerVerifyError: a score is NaN or infinite, or one of the two kinds of trials is missing.
    """
    if not np.isfinite(scores).all():
        raise SingerVerifyError(f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are NaN or infinite.")
    target_weight, nontarget_weight = _split_weights_by_kind(is_target, weights)
    levels, level = np.unique(scores, return_inverse=True)
    return compute_min_cllr_from_counts(
        np.bincount(level, target_weight, len(levels)), np.bincount(level, nontarget_weight, len(levels))
    )


def compute_min_cllr_from_counts(
    target_weight: Num[np.ndarray, " levels"], nontarget_weight: Num[np.ndarray, " levels"]
) -> float:
    """Compute the minimum Cllr from the number of trials of either kind with each score.

    The best ratios in the order of the scores come from pooling adjacent violators, which is isotonic regression: in
    each pool, the ratio is that of the shares of both kinds in it. Ayer, Brunk, Ewing, Reid & Silverman 1955, An
    empirical distribution function for sampling with incomplete information, Annals of Mathematical Statistics 26.

    Args:
        target_weight: number of target trials at each level, levels in rising order of their scores.
        nontarget_weight: number of non-target trials at each level.

    Returns:
        NaN where one of the two kinds is missing.
    """
    num_targets, num_nontargets = target_weight.sum(), nontarget_weight.sum()
    if num_targets == 0.0 or num_nontargets == 0.0:
        return float("nan")
    occupied = target_weight + nontarget_weight > 0.0
    targets, nontargets = target_weight[occupied] / num_targets, nontarget_weight[occupied] / num_nontargets
    both = targets + nontargets
    pools = isotonic_regression(targets / both, weights=both).blocks[:-1]
    targets, nontargets = np.add.reduceat(targets, pools), np.add.reduceat(nontargets, pools)
    both = targets + nontargets
    return float(0.5 * (_sum_bits(targets, both) + _sum_bits(nontargets, both)))


def _sum_bits(shares: Float[np.ndarray, " pools"], totals: Float[np.ndarray, " pools"]) -> float:
    """Return the sum of shares × log2(totals / shares); a share of 0 adds none."""
    is_positive = shares > 0.0
    return float(shares[is_positive] @ np.log2(totals[is_positive] / shares[is_positive]))


def _split_weights_by_kind(
    is_target: np.ndarray, weights: np.ndarray | None
) -> tuple[Float[np.ndarray, " trials"], Float[np.ndarray, " trials"]]:
    weights = np.ones(is_target.size) if weights is None else weights
    target_weight, nontarget_weight = np.where(is_target, weights, 0.0), np.where(is_target, 0.0, weights)
    if not target_weight.any() or not nontarget_weight.any():
        raise SingerVerifyError(
            f"{int(is_target.sum())} target and {int((~is_target).sum())} non-target trials; the cost of likelihood "
            f"ratios needs both kinds: two utterances of one singer, and two singers."
        )
    return target_weight, nontarget_weight
