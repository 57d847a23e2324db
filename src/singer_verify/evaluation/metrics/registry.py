"""The metrics that every stage shows: validation, `evaluate`, its conditions, and the leaderboard.

Adding a metric is an entry of `METRICS` and a test. It is then logged as `val/<name>`, can be monitored, and appears in
the JSON and tables of an evaluation and in the columns of a leaderboard. Metrics of something else than the scores of
trials (identification, decisions at a fixed threshold) stand in files of their own and are found by `evaluate` only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from singer_verify.evaluation.metrics.binned_counts import BinnedCounts
from singer_verify.evaluation.metrics.cllr import compute_min_cllr_from_counts

TARGET_PRIORS = (0.01, 0.05, 0.5)  # priors of target trials: NIST's in most evaluations, VoxCeleb's, and even odds
EER, MIN_DCF_PREFIX = "eer", "min_dcf_"


@dataclass(frozen=True)
class Metric:
    """A number that measures the quality of a system, computed from the scores of all trials at once.

    Attributes:
        label: name of the metric in tables and figures.
        compute: one value per resample of the counts; NaN where a resample lacks target or non-target trials.
        is_percentage: whether tables show it multiplied by 100.
        is_slow: computed per resample in a loop; a leaderboard takes fewer resamples for its interval.
    """

    label: str
    compute: Callable[[BinnedCounts], Float[np.ndarray, " resamples"]]
    is_percentage: bool = False
    is_slow: bool = False


def _compute_eer(counts: BinnedCounts) -> Float[np.ndarray, " resamples"]:
    return counts.curve.compute_eer()[0]


def _compute_auc(counts: BinnedCounts) -> Float[np.ndarray, " resamples"]:
    return counts.curve.compute_auc()


def _compute_min_cllr(counts: BinnedCounts) -> Float[np.ndarray, " resamples"]:
    return np.array([compute_min_cllr_from_counts(*row) for row in zip(counts.targets, counts.nontargets, strict=True)])


def _build_min_dcf(p_target: float) -> Metric:
    return Metric(f"minDCF at prior {p_target:g}", lambda counts: counts.curve.compute_min_dcf(p_target))


METRICS: dict[str, Metric] = {
    EER: Metric("EER", _compute_eer, is_percentage=True),
    **{f"{MIN_DCF_PREFIX}{prior:g}": _build_min_dcf(prior) for prior in TARGET_PRIORS},
    "auc": Metric("AUC", _compute_auc, is_percentage=True),
    "min_cllr": Metric("minimum Cllr", _compute_min_cllr, is_slow=True),
}
