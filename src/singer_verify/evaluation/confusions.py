"""Where a model fails: score distributions, the worst trials, and singers that are confused with each other."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from singer_verify.evaluation.metrics.decisions import DecisionCosts
from singer_verify.evaluation.metrics.trial_counts import ALL_TRIALS, ExactCrossing, TrialCounts
from singer_verify.evaluation.results import ConfusedSingers, ScoredTrial, ScoreHistogram
from singer_verify.evaluation.trials.blocks import TrialBlock, TrialSource

NUM_CONFUSED_PAIRS, NUM_EXAMPLE_TRIALS, NUM_WORST_TRIALS = 10, 3, 10
NUM_HISTOGRAM_BINS = 120  # number of bins of the histogram
MAX_PAIRWISE_SINGERS = 2000  # with more, pairs of singers are not compared


@dataclass
class WorstTrialsByPair:
    """The trials with the most extreme scores, at most one of a pair of singers: ten of one pair tell no more than one.

    Attributes:
        max_trials: number of trials kept.
        sign: 1 keeps the highest scores, -1 the lowest.
        singer_index: each side's singer.
    """

    max_trials: int
    sign: int
    singer_index: Int[np.ndarray, " sides"]
    _kept: dict[tuple[int, int], tuple[float, int, int, bool]] = field(default_factory=dict)

    def add(self, block: TrialBlock) -> None:
        """Keep the trials of a block that are among the most extreme so far, one for each pair of singers."""
        ranks = self.sign * block.scores.ravel()
        left, right = (np.broadcast_to(side, block.scores.shape).ravel() for side in (block.left, block.right))
        other = self.singer_index[right]
        best = np.full(int(self.singer_index.max(initial=0)) + 1, -np.inf)
        np.maximum.at(best, other, ranks)
        is_full = len(self._kept) == self.max_trials
        least = min(kept[0] for kept in self._kept.values()) if is_full else -np.inf
        ordered = np.argsort(-best, kind="stable")[: self.max_trials]
        for singer in ordered[best[ordered] > least].tolist():
            place = int(np.flatnonzero((other == singer) & (ranks == best[singer]))[0])
            pair = (min(block.singer, singer), max(block.singer, singer))
            if best[singer] > self._kept.get(pair, (-np.inf,))[0]:
                self._kept[pair] = (float(best[singer]), int(left[place]), int(right[place]), block.is_target)
            if len(self._kept) > self.max_trials:
                del self._kept[min(self._kept, key=lambda key: self._kept[key][0])]

    def list_worst(self) -> tuple[ScoredTrial, ...]:
        """Return the trials, the worst first."""
        return _list_worst(self._kept.values(), self.sign)


def _list_worst(kept: Iterable[tuple[float, int, int, bool]], sign: int) -> tuple[ScoredTrial, ...]:
    ordered = sorted(kept, key=lambda trial: (-trial[0], trial[1:]))
    return tuple(ScoredTrial(left, right, sign * rank, is_target) for rank, left, right, is_target in ordered)


@dataclass
class WorstTrials:
    """The trials with the most extreme scores.

    Attributes:
        max_trials: number of trials kept.
        sign: 1 keeps the highest scores, -1 the lowest.
    """

    max_trials: int
    sign: int
    _heap: list[tuple[float, int, int, bool]] = field(default_factory=list)

    def add(self, block: TrialBlock) -> None:
        """Keep the trials of a block that are among the most extreme so far."""
        ranks = self.sign * block.scores.ravel()
        least = self._heap[0][0] if len(self._heap) == self.max_trials else -np.inf
        places = np.flatnonzero(ranks > least)
        if len(places) > self.max_trials:
            places = places[np.argpartition(-ranks[places], self.max_trials - 1)[: self.max_trials]]
        left, right = (np.broadcast_to(side, block.scores.shape).ravel() for side in (block.left, block.right))
        for place in places.tolist():
            heapq.heappush(self._heap, (float(ranks[place]), int(left[place]), int(right[place]), block.is_target))
            if len(self._heap) > self.max_trials:
                heapq.heappop(self._heap)

    def list_worst(self) -> tuple[ScoredTrial, ...]:
        """Return the trials, the worst first."""
        return _list_worst(self._heap, self.sign)


class ScoreHistogramCounter:
    """A histogram of scores.

    Args:
        min_score: lowest score of any trial.
        max_score: highest score of any trial.
    """

    def __init__(self, min_score: float, max_score: float) -> None:
        self.edges = np.linspace(
            min_score, max_score if max_score > min_score else min_score + 1.0, NUM_HISTOGRAM_BINS + 1
        )
        self.counts = {True: np.zeros(NUM_HISTOGRAM_BINS, np.int64), False: np.zeros(NUM_HISTOGRAM_BINS, np.int64)}

    def add(self, block: TrialBlock) -> None:
        """Count the trials of a block."""
        self.counts[block.is_target] += np.histogram(block.scores, self.edges)[0]

    @property
    def histogram(self) -> ScoreHistogram:
        return ScoreHistogram(self.edges, self.counts[True], self.counts[False])


class SingerConfusionMatrix:
    """Trials and false alarms of each pair of singers; target trials are on the diagonal.

    Args:
        source: source of the trials.
        threshold: lowest accepted score.
        num_singers: number of singers of the source.

    Attributes:
        num_trials: (singers, singers), by the singers on the left and on the right.
        num_accepted: (singers, singers), those at or above the threshold.
        sums: (singers, singers), sums of scores.
    """

    def __init__(self, source: TrialSource, threshold: float, num_singers: int) -> None:
        self.source, self.threshold = source, threshold
        self.num_trials, self.num_accepted = (np.zeros((num_singers, num_singers), np.int64) for _ in range(2))
        self.sums = np.zeros((num_singers, num_singers))

    def add(self, block: TrialBlock) -> None:
        """Add the trials of a block."""
        scores = block.scores.ravel()
        others = np.broadcast_to(self.source.singer_index[block.right], block.scores.shape).ravel()
        num_singers = len(self.sums)
        self.num_trials[block.singer] += np.bincount(others, minlength=num_singers)
        self.num_accepted[block.singer] += np.bincount(others[scores >= self.threshold], minlength=num_singers)
        self.sums[block.singer] += np.bincount(others, scores, num_singers)

    @property
    def mean_scores(self) -> Float[np.ndarray, "singers singers"]:
        """(singers, singers), mean score of each pair; NaN without trials."""
        num_trials = _symmetrise(self.num_trials)
        means: np.ndarray = np.where(num_trials > 0, _symmetrise(self.sums) / np.maximum(num_trials, 1), np.nan)
        return means

    def find_nearest_singers(self) -> Int[np.ndarray, " singers"]:
        """Return, for each singer, the other singer with the highest mean score; the singer itself without trials."""
        means = self.mean_scores
        np.fill_diagonal(means, -np.inf)
        means = np.where(np.isnan(means), -np.inf, means)
        has_none = np.isneginf(means).all(axis=1)
        return np.where(has_none, np.arange(len(means)), means.argmax(axis=1))

    def find_confused_singers(self) -> tuple[ConfusedSingers, ...]:
        """Return the pairs of singers with the largest shares of false alarms, ties broken by mean score."""
        left, right = np.triu_indices(len(self.sums), k=1)
        num_trials, num_accepted = (_symmetrise(counts) for counts in (self.num_trials, self.num_accepted))
        has_trials = num_trials[left, right] > 0
        left, right = left[has_trials], right[has_trials]
        shares = num_accepted[left, right] / num_trials[left, right]
        means = self.mean_scores[left, right]
        worst = np.lexsort((-means, -shares))[:NUM_CONFUSED_PAIRS]
        return tuple(
            ConfusedSingers(
                int(left[pair]),
                int(right[pair]),
                float(shares[pair]),
                float(means[pair]),
                int(num_trials[left[pair], right[pair]]),
                self._collect_example_trials(int(left[pair]), int(right[pair])),
            )
            for pair in worst
        )

    def _collect_example_trials(self, left: int, right: int) -> tuple[ScoredTrial, ...]:
        examples = WorstTrials(NUM_EXAMPLE_TRIALS, 1)
        for block in self.source.iterate_between(left, right):
            examples.add(block)
        return examples.list_worst()


def _symmetrise(matrix: np.ndarray) -> np.ndarray:
    both: np.ndarray = matrix + matrix.T - np.diag(matrix.diagonal())
    return both


class ErrorAnalysis:
    """The last pass over the trials, which needs the threshold and the range of scores from the counts.

    Args:
        source: source of the trials.
        counts: counts of the same trials.
        decisions: costs of decisions, summed along the way.
        singers: numbers of the singers, passed on one by one.
    """

    def __init__(
        self, source: TrialSource, counts: TrialCounts, decisions: DecisionCosts, singers: Iterable[int]
    ) -> None:
        binned_counts = counts.by_condition[ALL_TRIALS].binned_counts
        _, (threshold,) = binned_counts.curve.compute_eer()
        num_singers = len(counts.weights.unit_index)
        self.crossing = ExactCrossing(binned_counts, counts.bins)
        self.scores = ScoreHistogramCounter(counts.min_score, counts.max_score)
        self.misses, self.false_alarms = (
            WorstTrialsByPair(NUM_WORST_TRIALS, sign, source.singer_index) for sign in (-1, 1)
        )
        self.confusions = (
            SingerConfusionMatrix(source, float(threshold), num_singers)
            if num_singers <= MAX_PAIRWISE_SINGERS
            else None
        )
        for singer in singers:
            for is_target in (True, False):
                for block in source.iterate_blocks(singer, is_target):
                    decisions.add(block, source.singer_index)
                    self._add(block)

    def _add(self, block: TrialBlock) -> None:
        self.scores.add(block)
        self.crossing.add(block)
        (self.misses if block.is_target else self.false_alarms).add(block)
        if self.confusions is not None:
            self.confusions.add(block)
