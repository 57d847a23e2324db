"""Intervals and p values from resampling singers.

Trials of one singer are not independent, so a bootstrap resamples singers, not trials. A trial of two singers counts as
often as both were drawn, one of a single singer as often as that singer was (two copies of a singer would otherwise be
trials of a singer against himself). Both kinds are sums over pairs of singers, so trials are counted once, in any
number of parts, and the counts weighted once for each resample. Systems are compared on the same resamples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.metrics.binned_counts import BinnedCounts, ScoreBins
from singer_verify.evaluation.metrics.registry import Metric

# With fewer singers, an error rate varies by several percentage points between sets of singers.
MIN_RELIABLE_SINGERS = 30
SIGNIFICANCE_LEVEL = 0.05  # of a corrected p value, to call two systems different
MAX_SCORE_LEVELS = 10_000  # of one system's resamples: beyond that, a rate's step is under a ten-thousandth
MAX_EXACT_FLOAT32_INTEGER = 1 << 24  # integers below are exact in single precision, whose products are twice as fast
MAX_PENDING_VALUES = 1 << 22  # number of values that may await weighting


@dataclass(frozen=True)
class Estimate:
    """A metric and its 95 % interval; the bounds are NaN where there is none."""

    value: float
    low: float
    high: float

    @classmethod
    def without_interval(cls, value: float) -> "Estimate":
        """Build an estimate of which only the value is known."""
        return cls(value, np.nan, np.nan)


def compute_percentile_interval(value: float, resampled: Float[np.ndarray, " resamples"]) -> Estimate:
    """Return a metric with the 2.5th and 97.5th percentile of its resamples (Efron & Tibshirani 1993, section 13.3).

    Resamples in which the metric does not exist are NaN and left out; if they are half or more, there is no interval.
    """
    valid = resampled[np.isfinite(resampled)]
    if len(valid) <= len(resampled) / 2:
        return Estimate.without_interval(value)
    low, high = np.percentile(valid, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def compute_two_sided_p_value(differences: Float[np.ndarray, " resamples"], num_singers: int) -> float:
    """Return twice the share of resampled differences on the rarer side of zero, at most 1.

    Zero itself counts on both sides, and each side counts one more than was found, so p is never 0 and never below what
    this number of resamples can show: 2 / (resamples + 1). It is the level at which the percentile interval of the
    paired difference just reaches zero (Efron & Tibshirani 1993, section 15.4). Both systems must have been
    resampled with the same draws: Bisani & Ney 2004, Bootstrap estimates for confidence intervals in ASR performance
    evaluation, ICASSP; over speakers: Poh & Bengio 2007, Performance generalization in biometric
    authentication using joint user-specific and sample bootstraps, IEEE Trans. PAMI 29 (3).

    Resamples of a handful of singers hardly differ, and their p would be far too small. It is no smaller here than what
    the exact test can give that exchanges the two systems' results of whole singers, 2 / 2**singers (Fisher 1935, The
    design of experiments, section 21): with five singers or fewer, no difference is significant.

    Args:
        differences: the difference in each resample.
        num_singers: number of singers that were resampled.
    """
    rarer = min(int((differences <= 0.0).sum()), int((differences >= 0.0).sum()))
    p = max(2.0 * (rarer + 1) / (len(differences) + 1), 2.0 ** (1 - num_singers))
    return min(1.0, p)


def apply_holm_correction(p_values: list[float]) -> list[float]:
    """Correct p values for their number; they stay in their order.

    The k-th smallest of m is multiplied by m - k + 1; none may be smaller than that of a smaller one, none above 1.
    Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return [float(p) for p in corrected]


@dataclass(frozen=True)
class PairedDifference:
    """Difference of a system's metric from a reference's, on the same resamples.

    Attributes:
        estimate: the difference and its interval.
        p: two-sided p value.
        p_holm: the same p value, corrected for the number of systems compared.
    """

    estimate: Estimate
    p: float
    p_holm: float

    @property
    def is_significant(self) -> bool:
        return self.p_holm < SIGNIFICANCE_LEVEL


def compare_paired(
    values: Mapping[str, float],
    resampled: Mapping[str, Float[np.ndarray, " resamples"]],
    reference: str,
    num_singers: int,
) -> dict[str, PairedDifference]:
    """Compare a metric of all systems with that of a reference, as one family of comparisons (Holm).

    Args:
        values: the metric of each system by name.
        resampled: the metric in each resample; all systems were resampled with the same draws.
        reference: name of the system that the others are compared with.
        num_singers: number of singers that were resampled.
    """
    differences = {name: resampled[name] - resampled[reference] for name in values if name != reference}
    p_values = [compute_two_sided_p_value(difference, num_singers) for difference in differences.values()]
    corrected = zip(differences.items(), p_values, apply_holm_correction(p_values), strict=True)
    return {
        name: PairedDifference(compute_percentile_interval(values[name] - values[reference], difference), p, p_holm)
        for (name, difference), p, p_holm in corrected
    }


def build_trial_matrix(
    left_singers: Int[np.ndarray, " trials"], right_singers: Int[np.ndarray, " trials"], num_singers: int
) -> Bool[np.ndarray, "singers singers"]:
    """Mark which singers have trials with which."""
    has_trials = np.zeros((num_singers, num_singers), bool)
    has_trials[left_singers, right_singers] = True
    return has_trials


def draw_bootstrap_weights(
    has_trials: Bool[np.ndarray, "singers singers"], num_resamples: int, seed: int = 0
) -> Int[np.ndarray, "resamples singers"]:
    """Draw as many singers as there are, with replacement, and count how often each was drawn in each resample.

    Efron & Tibshirani 1993, An introduction to the bootstrap, chapter 13. Draws that leave no target trial or no
    non-target trial (fewer than two different singers) are drawn again.

    Args:
        has_trials: mask of the pairs of singers that have trials; target trials on the diagonal.
        num_resamples: number of resamples.
        seed: seed of the draws.

    Raises:
        SingerVerifyError: the trials are of fewer than two singers, or all of one kind.
    """
    num_singers = len(has_trials)
    if num_singers < 2:
        raise SingerVerifyError(f"{num_singers} singers: an interval over singers needs at least 2.")
    has_targets, everyone = has_trials.diagonal(), np.arange(num_singers)
    if not has_targets.any() or not _has_nontarget_trials(has_trials, everyone):
        raise SingerVerifyError("trials of one kind only: an interval over singers needs target and non-target trials.")
    generator = np.random.default_rng(seed)
    draws: list[np.ndarray] = []
    while len(draws) < num_resamples:
        counts = np.bincount(generator.integers(num_singers, size=num_singers), minlength=num_singers)
        drawn = np.flatnonzero(counts)
        if has_targets[drawn].any() and _has_nontarget_trials(has_trials, drawn):
            draws.append(counts)
    return np.stack(draws)


def _has_nontarget_trials(has_trials: Bool[np.ndarray, "singers singers"], among: Int[np.ndarray, " drawn"]) -> bool:
    return any((has_trials[singer, among] & (among != singer)).any() for singer in among)


@dataclass(frozen=True)
class BootstrapWeights:
    """Resamples of singers, or, where there are very many, of groups of singers.

    Attributes:
        unit_index: (singers,), the unit that each singer belongs to.
        counts: (resamples, units), how often each unit counts.
    """

    unit_index: Int[np.ndarray, " singers"]
    counts: Int[np.ndarray, "resamples units"]

    @property
    def has_one_singer_per_unit(self) -> bool:
        return len(self.unit_index) == self.counts.shape[1]


class ResampledSums:
    """Sums over trials, for every resample.

    Args:
        draws: (resamples, singers), how often each singer counts.
        width: number of values summed for each trial: bins of the score axis, for instance.
    """

    def __init__(self, draws: Int[np.ndarray, "resamples singers"], width: int) -> None:
        self.singer_weights = np.ascontiguousarray(draws.T)  # (singers, resamples): a singer's are read in one go
        self.max_weight = int(draws.max(initial=1))
        self._sums: Float[np.ndarray, "resamples width"] = np.zeros((len(draws), width))
        self._pending: list[tuple[int, np.ndarray, np.ndarray]] = []
        self._num_pending = 0

    def add(self, singer: int, by_singer: Num[np.ndarray, "singers width"]) -> None:
        """Add trials of one singer against each of the singers, himself included, summed by the other singer."""
        others = np.flatnonzero(by_singer.any(axis=1))
        self._pending.append((singer, others, by_singer[others]))
        self._num_pending += len(others) * by_singer.shape[1]
        if self._num_pending > MAX_PENDING_VALUES:
            self._apply_weights()

    @property
    def sums(self) -> Float[np.ndarray, "resamples width"]:
        self._apply_weights()
        return self._sums

    def _apply_weights(self) -> None:
        """Weight all pending sums at once: the fewer matrix products, the faster."""
        if not self._pending:
            return
        singers, others, sums = zip(*self._pending, strict=True)
        left, right = np.repeat(singers, [len(part) for part in others]), np.concatenate(others)
        self._sums += sum_weighted_pairs(self.singer_weights, left, right, np.concatenate(sums), self.max_weight)
        self._pending.clear()
        self._num_pending = 0


def sum_weighted_pairs(
    singer_weights: Int[np.ndarray, "singers resamples"],
    left: Int[np.ndarray, " pairs"],
    right: Int[np.ndarray, " pairs"],
    sums: Num[np.ndarray, "pairs width"],
    max_weight: int,
) -> Float[np.ndarray, "resamples width"]:
    """Sum values of pairs of singers in each resample, weighted by how often both count.

    Args:
        singer_weights: how often each singer counts; a singer's weights are read in one go.
        left: one singer of each pair.
        right: the other; the same where a pair stands for the target trials of one singer.
        sums: values of each pair.
        max_weight: the largest weight.
    """
    largest = sums.sum(axis=0).max(initial=0) * max_weight**2
    is_exact = np.issubdtype(sums.dtype, np.integer) and largest < MAX_EXACT_FLOAT32_INTEGER
    weights_by_singer = singer_weights.astype(np.float32 if is_exact else np.float64)
    weights = weights_by_singer[left]
    weights[left == right] = 1.0
    weights *= weights_by_singer[right]
    return np.asarray(weights.T @ sums.astype(weights.dtype))


class ResampledCounts:
    """Trials counted by score bin, for every resample.

    Args:
        draws: (resamples, singers), how often each singer counts.
        bins: bins of the score axis.
    """

    def __init__(self, draws: Int[np.ndarray, "resamples singers"], bins: ScoreBins) -> None:
        self.num_singers, self.bins = draws.shape[1], bins
        self.targets, self.nontargets = ResampledSums(draws, len(bins)), ResampledSums(draws, len(bins))

    def add(self, singer: int, places: Int[np.ndarray, " trials"], is_target: bool) -> Int[np.ndarray, "singers bins"]:
        """Count trials of one kind of one singer; return the counts by the other singer and bin.

        Args:
            singer: number of the singer.
            places: the place of each trial: the other singer's number × number of bins + its bin.
            is_target: whether these are target trials.
        """
        counts = np.bincount(places, minlength=self.num_singers * len(self.bins))
        by_singer = counts.reshape(self.num_singers, len(self.bins))
        (self.targets if is_target else self.nontargets).add(singer, by_singer)
        return by_singer

    def build_binned_counts(self) -> BinnedCounts:
        """Return the counts so far."""
        return BinnedCounts(self.bins.thresholds, self.targets.sums, self.nontargets.sums)


def compute_resampled_metrics(
    scores: Float[np.ndarray, " trials"],
    left_singers: Int[np.ndarray, " trials"],
    right_singers: Int[np.ndarray, " trials"],
    draws: Int[np.ndarray, "resamples singers"],
    metrics: Mapping[str, Metric],
    max_levels: int = MAX_SCORE_LEVELS,
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """Compute metrics in each resample; NaN where it leaves no target or no non-target trial.

    A resample of every singer once gives the metrics themselves, but for `max_levels`.

    Args:
        scores: scores of one system.
        left_singers: numbered from 0.
        right_singers: the same singer in a target trial.
        draws: (resamples, singers), count of each singer.
        metrics: metrics by name.
        max_levels: number of score levels of target trials up to which rates are exact.

    Raises:
        SingerVerifyError: a score is NaN or infinite.
    """
    if not np.isfinite(scores).all():
        raise SingerVerifyError(f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are NaN or infinite.")
    is_target = left_singers == right_singers
    if not is_target.any():
        return {name: np.full(len(draws), np.nan) for name in metrics}
    bins = ScoreBins.from_target_scores(scores[is_target]).thin(max_levels)
    resampled = ResampledCounts(draws, bins)
    for singer in np.unique(left_singers).tolist():
        for kind in (True, False):
            chosen = (left_singers == singer) & (is_target == kind)
            places = right_singers[chosen] * len(bins) + bins.digitize(scores[chosen])
            resampled.add(singer, places, kind)
    counts = resampled.build_binned_counts()
    return {name: metric.compute(counts) for name, metric in metrics.items()}
