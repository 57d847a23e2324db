"""The cost of decisions at thresholds chosen beforehand, and of calibrated scores, with intervals over singers."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from singer_verify.evaluation.metrics.bootstrap import (
    BootstrapWeights,
    Estimate,
    ResampledSums,
    compute_percentile_interval,
)
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.trials.blocks import TrialBlock

COUNT_COLUMN, CLLR_COLUMN, FIRST_ERROR_COLUMN = 0, 1, 2  # columns of the sums


@dataclass(frozen=True)
class DecisionThresholds:
    """Thresholds that are evaluated.

    Attributes:
        thresholds: score thresholds by name.
        calibration: calibration of the scores; None without one.
    """

    thresholds: dict[str, float]
    calibration: Calibration | None

    def __bool__(self) -> bool:
        return bool(self.thresholds) or self.calibration is not None


class DecisionCosts:
    """Errors at each threshold, and the cost of log-likelihood ratios, over all trials and in every resample.

    Args:
        decisions: thresholds to evaluate.
        weights: weights of the bootstrap; a row of ones is put before them.
    """

    def __init__(self, decisions: DecisionThresholds, weights: BootstrapWeights) -> None:
        self.decisions, self.unit_index = decisions, weights.unit_index
        once = np.ones((1, weights.counts.shape[1]), np.int64)
        self.num_units, self.width = weights.counts.shape[1], FIRST_ERROR_COLUMN + len(decisions.thresholds)
        self.targets, self.nontargets = (
            ResampledSums(np.concatenate([once, weights.counts]), self.width) for _ in range(2)
        )

    def add(self, block: TrialBlock, singer_index: Int[np.ndarray, " utterances"]) -> None:
        """Add the trials of a block."""
        if not self.decisions:
            return
        others = np.broadcast_to(self.unit_index[singer_index[block.right]], block.scores.shape).ravel()
        columns = [np.ones(others.size), *self._compute_trial_costs(block.scores.ravel(), block.is_target)]
        summed = np.stack([np.bincount(others, column, self.num_units) for column in columns], axis=1)
        (self.targets if block.is_target else self.nontargets).add(int(self.unit_index[block.singer]), summed)

    def _compute_trial_costs(self, scores: Float[np.ndarray, " trials"], is_target: bool) -> list[np.ndarray]:
        calibration = self.decisions.calibration
        likelihood = np.zeros(len(scores))
        if calibration is not None:
            ratios = calibration.log_likelihood_ratio(scores.astype(np.float64))
            likelihood = np.logaddexp(0.0, -ratios if is_target else ratios) / np.log(2.0)
        is_error = [(scores >= threshold) != is_target for threshold in self.decisions.thresholds.values()]
        return [likelihood, *is_error]

    def compute_error_rates(self, name: str) -> tuple[Float[np.ndarray, " resamples"], Float[np.ndarray, " resamples"]]:
        """Return misses and false alarms at a threshold; the first of each is that of all trials."""
        column = FIRST_ERROR_COLUMN + list(self.decisions.thresholds).index(name)
        return self._compute_mean(self.targets, column), self._compute_mean(self.nontargets, column)

    def compute_cllr(self) -> Estimate:
        """Compute the cost of log-likelihood ratios in bits, see `cllr.compute_cllr`."""
        costs = (self._compute_mean(self.targets, CLLR_COLUMN) + self._compute_mean(self.nontargets, CLLR_COLUMN)) / 2.0
        return estimate_from_resamples(costs)

    def compute_actual_dcf(self, name: str, p_target: float) -> Estimate:
        """Compute the detection cost at a threshold, divided by that of the better constant decision.

        NIST speaker recognition evaluation plan 2016, section 3.1.
        """
        miss, false_alarm = self.compute_error_rates(name)
        return estimate_from_resamples(
            (p_target * miss + (1.0 - p_target) * false_alarm) / min(p_target, 1.0 - p_target)
        )

    def _compute_mean(self, sums: ResampledSums, column: int) -> Float[np.ndarray, " resamples"]:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean: np.ndarray = sums.sums[:, column] / sums.sums[:, COUNT_COLUMN]
        return mean


def estimate_from_resamples(values: Float[np.ndarray, " resamples"]) -> Estimate:
    """Return the first value with the interval of the others."""
    return compute_percentile_interval(float(values[0]), values[1:])
