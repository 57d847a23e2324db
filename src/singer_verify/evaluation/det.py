"""Detection error trade-off: miss rate against false-alarm rate, on axes of normal deviates.

Martin, Doddington, Kamm, Ordowski, Przybocki 1997, The DET curve in assessment of detection task performance,
Eurospeech.
"""

from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float

from singer_verify.evaluation.metrics import error_curve

LOWEST_RATE, HIGHEST_RATE = 0.001, 0.6  # of both axes


def false_alarm_grid(num_points: int = 200) -> Float[np.ndarray, " points"]:
    """False-alarm rates equally far apart on a normal-deviate axis, rising."""
    low, high = (NormalDist().inv_cdf(rate) for rate in (LOWEST_RATE, HIGHEST_RATE))
    return np.array([NormalDist().cdf(deviate) for deviate in np.linspace(low, high, num_points)])


def miss_at(
    scores: Float[np.ndarray, " trials"],
    is_target: Bool[np.ndarray, " trials"],
    false_alarms: Float[np.ndarray, " points"],
) -> Float[np.ndarray, " points"]:
    """Miss rates at the lowest thresholds that keep the false-alarm rate at or under the given ones.

    Several systems' curves are averaged point by point: vertical averaging, Fawcett 2006, An introduction to ROC
    analysis, Pattern Recognition Letters 27, section 8.1.

    Raises:
        SingerVerifyError: see `metrics.error_curve`.
    """
    curve = error_curve(scores, is_target)
    first = np.searchsorted(-curve.false_alarm, -false_alarms, side="left")
    return curve.miss[first]
