"""Trials counted by score: of all of them and of each condition, as they are and under resamples of the singers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.conditions import Conditions
from singer_verify.evaluation.metrics.binned_counts import BinnedCounts, ScoreBins
from singer_verify.evaluation.metrics.bootstrap import ResampledCounts
from singer_verify.evaluation.trials.blocks import TrialBlock, TrialSource

ALL_TRIALS = "all"
# Different scores of target trials up to which rates are exact. Of more, the curve is drawn through so many points: a
# step of the miss rate is under 0.0001, and an equal error rate is off by a hundred-millionth or so.
MAX_EXACT_LEVELS = 50_000
MAX_RESAMPLED_LEVELS = (
    400  # for intervals: a rate in a resample is off by some 0.00002, their bounds are far less certain
)
MAX_COUNTS_PER_SINGER = 500_000  # of singers × cells, of one singer's trials


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


class ConditionCounts:
    """Trials of one condition.

    Args:
        num_cells: of the exact counts.
        num_coarse_cells: of those under resamples.
        draws: of the bootstrap.
    """

    def __init__(self, num_cells: int, num_coarse_cells: int, draws: BootstrapWeights) -> None:
        self.targets, self.nontargets = (np.zeros((1, num_cells), np.int64) for _ in range(2))
        self.resampled_counts = ResampledCounts(draws.counts, num_coarse_cells)

    @property
    def binned_counts(self) -> BinnedCounts:
        return BinnedCounts(self.targets, self.nontargets)

    @property
    def num_targets(self) -> int:
        return int(self.targets.sum())

    @property
    def num_nontargets(self) -> int:
        return int(self.nontargets.sum())


class SingerCounts:
    """Trials of each singer with anyone, on the coarse cells."""

    def __init__(self, num_singers: int, num_cells: int) -> None:
        self.targets, self.nontargets = (np.zeros((num_singers, num_cells), np.int64) for _ in range(2))

    def add(self, block: TrialBlock, of_others: Int[np.ndarray, "singers cells"]) -> None:
        if block.is_target:
            self.targets += of_others
        else:
            self.nontargets += of_others
            self.nontargets[block.singer] += of_others.sum(axis=0)

    @property
    def binned_counts(self) -> BinnedCounts:
        return BinnedCounts(self.targets, self.nontargets)


class TrialCounts:
    """All trials of a source, counted.

    Args:
        source: of the trials.
        conditions: that are counted besides all of them.
        draws: of the bootstrap.
        singers: their numbers, passed on one by one.

    Attributes:
        cells: of the exact counts.
        coarse: of the counts under resamples.
        by_condition: by name, `all` first; conditions that no trial meets are absent.
        by_singer: of each singer; None where units hold several.
        min_score: of any trial.
        max_score: likewise.

    Raises:
        SingerVerifyError: a score is NaN or infinite, or there is no target trial.
    """

    def __init__(
        self, source: TrialSource, conditions: Conditions, draws: BootstrapWeights, singers: Iterable[int]
    ) -> None:
        self.source, self.conditions, self.draws = source, conditions, draws
        num_units = draws.counts.shape[1]
        self.bins = ScoreBins.from_target_scores(collect_target_scores(source, len(draws.unit_index))).thin(
            MAX_EXACT_LEVELS
        )
        self.coarse_bins = self.bins.thin(min(MAX_RESAMPLED_LEVELS, max(MAX_COUNTS_PER_SINGER // (2 * num_units), 10)))
        self.coarse_bin_index = self.bins.map_to_coarser(self.coarse_bins)
        self.by_condition: dict[str, ConditionCounts] = {}
        self.min_score, self.max_score = np.inf, -np.inf
        one_each = draws.has_one_singer_per_unit
        self.by_singer = SingerCounts(num_units, len(self.coarse_bins)) if one_each else None
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
        cells = self.bins.digitize(block.scores).ravel()
        units = self.draws.unit_index[self.source.singer_index[block.right]]
        places = (
            np.broadcast_to(units * len(self.coarse_bins), block.scores.shape).ravel() + self.coarse_bin_index[cells]
        )
        of_units = self._count(ALL_TRIALS, block, cells, places)
        if self.by_singer is not None:
            self.by_singer.add(block, of_units)
        for name, kept in self.conditions.iterate_masks(block.left, block.right):
            chosen = np.flatnonzero(kept)
            if len(chosen):
                self._count(name, block, cells.take(chosen), places.take(chosen))

    def _count(
        self, name: str, block: TrialBlock, cells: Int[np.ndarray, " trials"], places: Int[np.ndarray, " trials"]
    ) -> Int[np.ndarray, "units cells"]:
        """Count trials of a block by cell; and by the right singer's unit and coarse cell, which is returned."""
        if name not in self.by_condition:
            self.by_condition[name] = ConditionCounts(len(self.bins), len(self.coarse_bins), self.draws)
        counted = self.by_condition[name]
        kind = counted.targets if block.is_target else counted.nontargets
        kind[0] += np.bincount(cells, minlength=kind.shape[1])
        return counted.resampled_counts.add(int(self.draws.unit_index[block.singer]), places, block.is_target)


def collect_target_scores(source: TrialSource, num_singers: int) -> Float[np.ndarray, " targets"]:
    """Scores of all target trials.

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
