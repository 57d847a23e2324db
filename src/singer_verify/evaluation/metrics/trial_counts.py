"""Trials counted by score: all of them and those of each condition, as they are and under resamples of the singers."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from jaxtyping import Float, Int

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.conditions import Conditions
from singer_verify.evaluation.metrics.binned_counts import BinnedCounts, ScoreBins
from singer_verify.evaluation.metrics.bootstrap import (
    BootstrapWeights,
    Estimate,
    ResampledCounts,
    compute_percentile_interval,
)
from singer_verify.evaluation.metrics.error_rates import ErrorCurve
from singer_verify.evaluation.metrics.registry import Metric
from singer_verify.evaluation.trials.blocks import TrialBlock, TrialSource

ALL_TRIALS = "all"
# Different scores of target trials up to which rates are exact. With more, the curve is drawn through so many points: a
# step of the miss rate is under 0.0001, and an equal error rate is off by a hundred-millionth or so; `ExactCrossing`
# takes that away for all trials.
MAX_EXACT_LEVELS = 50_000
MAX_RESAMPLED_LEVELS = 400  # for intervals: a resampled rate is off by some 0.00002, their bounds are far less certain
MAX_COUNTS_PER_SINGER = 500_000  # singers × bins of one singer's trials


class ConditionCounts:
    """Trials of one condition.

    Args:
        bins: bins of the counts of all trials as they are.
        coarse_bins: bins of the counts under resamples.
        weights: weights of the bootstrap.
    """

    def __init__(self, bins: ScoreBins, coarse_bins: ScoreBins, weights: BootstrapWeights) -> None:
        self.bins = bins
        self.targets, self.nontargets = (np.zeros((1, len(bins)), np.int64) for _ in range(2))
        self.resampled_counts = ResampledCounts(weights.counts, coarse_bins)

    @property
    def binned_counts(self) -> BinnedCounts:
        return BinnedCounts(self.bins.thresholds, self.targets, self.nontargets)

    @property
    def num_targets(self) -> int:
        return int(self.targets.sum())

    @property
    def num_nontargets(self) -> int:
        return int(self.nontargets.sum())

    def estimate(self, metrics: Mapping[str, Metric]) -> dict[str, Estimate]:
        """Compute metrics of all trials, each with its interval over the resamples."""
        exact, resampled = self.binned_counts, self.resampled_counts.build_binned_counts()
        return {
            name: compute_percentile_interval(float(metric.compute(exact)[0]), metric.compute(resampled))
            for name, metric in metrics.items()
        }


class SingerCounts:
    """Trials of each singer with anyone, in the coarse bins."""

    def __init__(self, num_singers: int, bins: ScoreBins) -> None:
        self.bins = bins
        self.targets, self.nontargets = (np.zeros((num_singers, len(bins)), np.int64) for _ in range(2))

    def add(self, block: TrialBlock, by_other: Int[np.ndarray, "singers bins"]) -> None:
        """Add a block whose trials are counted by the other singer; a non-target trial is one of both singers."""
        if block.is_target:
            self.targets += by_other
        else:
            self.nontargets += by_other
            self.nontargets[block.singer] += by_other.sum(axis=0)

    @property
    def binned_counts(self) -> BinnedCounts:
        return BinnedCounts(self.bins.thresholds, self.targets, self.nontargets)


class TrialCounts:
    """All trials of a source, counted.

    Args:
        source: source of the trials.
        conditions: conditions counted besides all trials.
        weights: weights of the bootstrap.
        singers: numbers of the singers, passed on one by one.
        max_resampled_levels: number of levels of the counts under resamples.

    Attributes:
        bins: bins of the exact counts.
        coarse_bins: bins of the counts under resamples.
        by_condition: counts by condition, `all` first; conditions without any trial are absent.
        by_singer: counts of each singer; None where units hold several.
        min_score: lowest score of any trial.
        max_score: highest score of any trial.

    Raises:
        SingerVerifyError: a score is NaN or infinite, or there is no target trial.
    """

    def __init__(
        self,
        source: TrialSource,
        conditions: Conditions,
        weights: BootstrapWeights,
        singers: Iterable[int],
        max_resampled_levels: int = MAX_RESAMPLED_LEVELS,
    ) -> None:
        self.source, self.conditions, self.weights = source, conditions, weights
        num_units = weights.counts.shape[1]
        target_scores = collect_target_scores(source, len(weights.unit_index))
        self.bins = ScoreBins.from_target_scores(target_scores).thin(MAX_EXACT_LEVELS)
        self.coarse_bins = self.bins.thin(min(max_resampled_levels, max(MAX_COUNTS_PER_SINGER // (2 * num_units), 10)))
        self.coarse_bin_index = self.bins.map_to_coarser(self.coarse_bins)
        self.by_condition: dict[str, ConditionCounts] = {}
        self.min_score, self.max_score = np.inf, -np.inf
        self.by_singer = SingerCounts(num_units, self.coarse_bins) if weights.has_one_singer_per_unit else None
        for singer in singers:
            for is_target in (True, False):
                for block in source.iterate_blocks(singer, is_target):
                    self._add(block)
        in_order = (ALL_TRIALS, *conditions.names)
        self.by_condition = {name: self.by_condition[name] for name in in_order if name in self.by_condition}

    def _add(self, block: TrialBlock) -> None:
        lowest, highest = float(block.scores.min(initial=np.inf)), float(block.scores.max(initial=-np.inf))
        if np.isnan(lowest) or (block.scores.size and np.isinf([lowest, highest]).any()):
            raise SingerVerifyError(
                f"{int((~np.isfinite(block.scores)).sum())} of {block.scores.size} scores are NaN or infinite; check "
                f"the embeddings and the scoring."
            )
        self.min_score, self.max_score = min(self.min_score, lowest), max(self.max_score, highest)
        bin_index = self.bins.digitize(block.scores).ravel()
        units = self.weights.unit_index[self.source.singer_index[block.right]]
        first_places = np.broadcast_to(units * len(self.coarse_bins), block.scores.shape).ravel()
        places = first_places + self.coarse_bin_index[bin_index]
        by_unit = self._count(ALL_TRIALS, block, bin_index, places)
        if self.by_singer is not None:
            self.by_singer.add(block, by_unit)
        for name, mask in self.conditions.iterate_masks(block.left, block.right):
            chosen = np.flatnonzero(mask)
            if len(chosen):
                self._count(name, block, bin_index.take(chosen), places.take(chosen))

    def _count(
        self, name: str, block: TrialBlock, bin_index: Int[np.ndarray, " trials"], places: Int[np.ndarray, " trials"]
    ) -> Int[np.ndarray, "units bins"]:
        """Count trials of a block by bin; and by the right singer's unit and coarse bin, which is returned."""
        if name not in self.by_condition:
            self.by_condition[name] = ConditionCounts(self.bins, self.coarse_bins, self.weights)
        counts = self.by_condition[name]
        kind = counts.targets if block.is_target else counts.nontargets
        kind[0] += np.bincount(bin_index, minlength=kind.shape[1])
        return counts.resampled_counts.add(int(self.weights.unit_index[block.singer]), places, block.is_target)


def collect_target_scores(source: TrialSource, num_singers: int) -> Float[np.ndarray, " targets"]:
    """Collect the scores of all target trials.

    Raises:
        SingerVerifyError: there is none.
    """
    parts = [block.scores.ravel() for block in _iterate_target_blocks(source, num_singers)]
    if not sum(len(part) for part in parts):
        raise SingerVerifyError(
            "0 target trials; error rates need trials of one singer: two utterances of the same singer."
        )
    return np.concatenate(parts)


def _iterate_target_blocks(source: TrialSource, num_singers: int) -> Iterator[TrialBlock]:
    for singer in range(num_singers):
        yield from source.iterate_blocks(singer, is_target=True)


class ExactCrossing:
    """The equal error rate of all trials, exact however many there are.

    Counts in bins tell between which two levels the rates cross; the scores between these two levels, few of all, are
    collected in a second pass. The result is that of `error_rates.compute_eer` on all scores at once.

    Args:
        counts: counts of all trials.
        bins: bins of these counts.
    """

    def __init__(self, counts: BinnedCounts, bins: ScoreBins) -> None:
        levels = np.concatenate([[-np.inf], bins.levels, [np.inf]])
        excess = counts.curve.miss[0] - counts.curve.false_alarm[0]
        before = max(int(np.argmax(excess >= 0.0)) - 1, 0)  # an edge of the bins: two for each level, after the first
        level = (before + 1) // 2
        self.low, self.high = float(levels[level]), float(levels[level + 1])
        first_bin = max(2 * level - 1, 0)
        self.num_below = tuple(int(kind[0, :first_bin].sum()) for kind in (counts.targets, counts.nontargets))
        self.num_trials = tuple(int(kind.sum()) for kind in (counts.targets, counts.nontargets))
        self._parts: dict[bool, list[tuple[np.ndarray, np.ndarray]]] = {True: [], False: []}

    def add(self, block: TrialBlock) -> None:
        """Collect the scores of a block that lie between the two levels, or at one of them."""
        is_between = (block.scores >= self.low) & (block.scores <= self.high)
        self._parts[block.is_target].append(np.unique(block.scores[is_between], return_counts=True))

    def compute_eer(self) -> tuple[float, float]:
        """Compute the rate and its threshold, when all blocks have been added."""
        parts = [part for kind in self._parts.values() for part, _ in kind]
        scores = np.unique(np.concatenate(parts)).astype(np.float64)
        cumulative = [
            np.append(below + self._count_below(scores, is_target), total)
            for is_target, below, total in zip((True, False), self.num_below, self.num_trials, strict=True)
        ]
        curve = ErrorCurve.from_cumulative_counts(np.append(scores, np.inf), *cumulative, *self.num_trials)
        rate, threshold = curve.compute_eer()
        return float(rate), float(threshold)

    def _count_below(self, thresholds: Float[np.ndarray, " points"], is_target: bool) -> Int[np.ndarray, " points"]:
        scores, counts = (np.concatenate(part) for part in zip(*self._parts[is_target], strict=True))
        order = np.argsort(scores)
        cumulative = np.concatenate([[0], counts[order].cumsum()])
        return np.asarray(cumulative[np.searchsorted(scores[order], thresholds)])
