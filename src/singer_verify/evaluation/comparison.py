"""Systems compared on the same resamples of singers: intervals, p values, and their correction for many comparisons."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; NaN bounds where there is none."""

    value: float
    low: float
    high: float


def percentile_estimate(value: float, resampled: Float[np.ndarray, " resamples"]) -> Estimate:
    """A figure with the 2.5th and 97.5th percentile of its resamples (Efron & Tibshirani 1993, section 13.3).

    Resamples in which the figure does not exist are NaN and left out; where that is most of them, there is no interval.
    """
    valid = resampled[np.isfinite(resampled)]
    if len(valid) <= len(resampled) / 2:
        return Estimate(value, np.nan, np.nan)
    low, high = np.percentile(valid, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def two_sided_p(differences: Float[np.ndarray, " resamples"]) -> float:
    """Twice the share of resampled differences on the rarer side of zero, at most 1.

    Zero itself counts on both sides, and each side counts one more than was found, so p is never 0 and never below what
    this number of resamples can show: 2 / (resamples + 1). It is the level at which the percentile interval of the
    paired difference just reaches zero (Efron & Tibshirani 1993, section 15.4). Both systems must have been
    resampled with the same draws: Bisani & Ney 2004, Bootstrap estimates for confidence intervals in ASR performance
    evaluation, ICASSP; over speakers: Poh & Bengio 2007, Performance generalization in biometric
    authentication using joint user-specific and sample bootstraps, IEEE Trans. PAMI 29 (3).
    """
    rarer = min(int((differences <= 0.0).sum()), int((differences >= 0.0).sum()))
    return min(1.0, 2.0 * (rarer + 1) / (len(differences) + 1))


def holm(p_values: list[float]) -> list[float]:
    """p values corrected for their number, in the order given.

    The k-th smallest of m is multiplied by m - k + 1; none may be smaller than that of a smaller one, none above 1.
    Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return [float(p) for p in corrected]
