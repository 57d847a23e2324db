"""Counts of trials under many resamples of their singers, gathered from trials that come in any number of parts.

A trial of two singers counts as often as both were drawn, one of a single singer as often as that singer was (two
copies of a singer would otherwise be trials of a singer against himself). Both kinds are sums over pairs of singers, so
the trials are counted once, and the counts weighted once for each resample.
"""

import numpy as np
from jaxtyping import Float, Int, Num

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.cells import Cells
from singer_verify.evaluation.tally import Tally, equal_error_rates, min_dcfs

MOST_LEVELS = 10_000  # of one system's scores: beyond that, a rate's step is under a ten-thousandth
SINGLE_PRECISION = 1 << 24  # whole numbers below are exact in single precision, whose products are twice as fast
MOST_WAITING = 1 << 22  # numbers, of sums that wait to be weighted
RATES = ("eer", "min_dcf_0.01", "min_dcf_0.05")


class ResampledSums:
    """Sums over trials, for every resample.

    Args:
        draws: (resamples, singers), how often each singer counts.
        width: of what is summed for each trial: cells of the score axis, for instance.
    """

    def __init__(self, draws: Int[np.ndarray, "resamples singers"], width: int) -> None:
        self.counts_of = np.ascontiguousarray(draws.T)  # (singers, resamples): a singer's are read in one go
        self.most_drawn = int(draws.max(initial=1))
        self._sums: Float[np.ndarray, "resamples width"] = np.zeros((len(draws), width))
        self._waiting: list[tuple[int, np.ndarray, np.ndarray]] = []
        self._num_waiting = 0

    def add(self, singer: int, of_singers: Num[np.ndarray, "singers width"]) -> None:
        """Trials of one singer against each of the singers, himself included, summed by the other singer."""
        others = np.flatnonzero(of_singers.any(axis=1))
        self._waiting.append((singer, others, of_singers[others]))
        self._num_waiting += len(others) * of_singers.shape[1]
        if self._num_waiting > MOST_WAITING:
            self._weigh()

    @property
    def sums(self) -> Float[np.ndarray, "resamples width"]:
        self._weigh()
        return self._sums

    def _weigh(self) -> None:
        """Add what waits, weighted for each resample: the fewer products of matrices, the faster."""
        if not self._waiting:
            return
        singers, others, sums = zip(*self._waiting, strict=True)
        left, right = np.repeat(singers, [len(each) for each in others]), np.concatenate(others)
        summed = np.concatenate(sums)
        largest = summed.sum(axis=0).max(initial=0) * self.most_drawn**2
        is_exact = np.issubdtype(summed.dtype, np.integer) and largest < SINGLE_PRECISION
        counts_of = self.counts_of.astype(np.float32 if is_exact else np.float64)
        weights = counts_of[left]
        weights[left == right] = 1.0
        weights *= counts_of[right]
        self._sums += weights.T @ summed.astype(weights.dtype)
        self._waiting.clear()
        self._num_waiting = 0


class ResampledTally:
    """The tally of every resample.

    Args:
        draws: (resamples, singers), how often each singer counts.
        num_cells: of the score axis.
    """

    def __init__(self, draws: Int[np.ndarray, "resamples singers"], num_cells: int) -> None:
        self.num_singers, self.num_cells = draws.shape[1], num_cells
        self.targets, self.nontargets = ResampledSums(draws, num_cells), ResampledSums(draws, num_cells)

    def add(self, singer: int, places: Int[np.ndarray, " trials"], is_target: bool) -> Int[np.ndarray, "singers cells"]:
        """Count trials of one kind of one singer; returns the counts by the other singer and cell.

        Args:
            singer: of all of them.
            places: of each, the other singer's number × number of cells + its cell.
            is_target: their kind.
        """
        counts = np.bincount(places, minlength=self.num_singers * self.num_cells)
        of_singers = counts.reshape(self.num_singers, self.num_cells)
        (self.targets if is_target else self.nontargets).add(singer, of_singers)
        return of_singers

    def tally(self) -> Tally:
        return Tally(self.targets.sums, self.nontargets.sums)


def resampled_rates(
    scores: Float[np.ndarray, " trials"],
    left_singers: Int[np.ndarray, " trials"],
    right_singers: Int[np.ndarray, " trials"],
    draws: Int[np.ndarray, "resamples singers"],
) -> Float[np.ndarray, "resamples 3"]:
    """The rates named in `RATES` for each resample; NaN where it leaves no target or no non-target trial.

    A resample of every singer once gives the rates themselves.

    Args:
        scores: of one system.
        left_singers: numbered from 0.
        right_singers: the same singer in a target trial.
        draws: how often each singer counts.

    Raises:
        SingerVerifyError: a score is NaN or infinite.
    """
    if not np.isfinite(scores).all():
        raise SingerVerifyError(f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are NaN or infinite.")
    is_target = left_singers == right_singers
    if not is_target.any():
        return np.full((len(draws), len(RATES)), np.nan)
    cells = Cells.of_targets(scores[is_target]).thinned(MOST_LEVELS)
    counted = ResampledTally(draws, len(cells))
    for singer in np.unique(left_singers).tolist():
        for kind in (True, False):
            chosen = (left_singers == singer) & (is_target == kind)
            places = right_singers[chosen] * len(cells) + cells.of(scores[chosen])
            counted.add(singer, places, kind)
    tally = counted.tally()
    eer, _ = equal_error_rates(tally, cells.thresholds)
    return np.stack([eer, min_dcfs(tally, 0.01), min_dcfs(tally, 0.05)], axis=1)
