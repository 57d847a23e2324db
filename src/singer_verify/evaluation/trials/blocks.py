"""Trials and their scores in blocks that fit into memory: all pairs of utterances, or those of a list."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from singer_verify.evaluation.metrics.bootstrap import build_trial_matrix
from singer_verify.evaluation.scoring.enrolment import SingerModels, score_models
from singer_verify.evaluation.scoring.scoring import ENROLMENT_SCORES, Scoring, TrialEmbeddings
from singer_verify.evaluation.trials.trial_list import Trials

MAX_TRIALS_PER_BLOCK = 1 << 21


@dataclass(frozen=True)
class TrialBlock:
    """Trials of one kind with one singer on the left.

    Attributes:
        singer: number of that singer.
        left: utterance numbers; a column where the block pairs every left with every right utterance.
        right: utterance numbers; a row in that case.
        scores: scores of the trials, in the shape of both broadcast together.
        is_target: whether that singer is also on the right.
    """

    singer: int
    left: Int[np.ndarray, "*left"]
    right: Int[np.ndarray, "*right"]
    scores: Float[np.ndarray, "*trials"]
    is_target: bool


@runtime_checkable
class TrialSource(Protocol):
    """A source of trials; iterating again gives the same blocks with the same scores."""

    singer_index: Int[np.ndarray, " utterances"]

    def build_trial_matrix(self, unit_index: Int[np.ndarray, " singers"]) -> Bool[np.ndarray, "units units"]:
        """Mark which units of singers have trials with which; on the diagonal, whether one has target trials."""
        ...

    def iterate_blocks(self, singer: int, is_target: bool) -> Iterator[TrialBlock]:
        """Yield the trials of this kind with this singer on the left."""
        ...

    def iterate_between(self, left_singer: int, right_singer: int) -> Iterator[TrialBlock]:
        """Yield the trials of two singers, in either order."""
        ...


class AllPairsSource:
    """Every utterance against every other, once; the singer of the lower number is on the left.

    Where test recordings differ from those enrolled, every pair is scored twice: either of its utterances is the test
    recording once.

    Args:
        sides: prepared embeddings of the utterances.
        singer_index: singer of each utterance.
        scoring: scoring that prepared the sides.
        tests: prepared embeddings of the same utterances as test recordings; None where they are the same.
    """

    def __init__(
        self,
        sides: TrialEmbeddings,
        singer_index: Int[np.ndarray, " utterances"],
        scoring: Scoring,
        tests: TrialEmbeddings | None = None,
    ) -> None:
        self.singer_index, self.scoring = singer_index, scoring
        self.order = np.argsort(singer_index, kind="stable")
        enrolled = sides[self.order]
        self.directions = [(enrolled, enrolled)]
        if tests is not None:
            tested = tests[self.order]
            self.directions = [(enrolled, tested), (tested, enrolled)]
        singers = np.arange(int(singer_index.max(initial=-1)) + 2)
        self.bounds: list[int] = np.searchsorted(singer_index[self.order], singers).tolist()

    def build_trial_matrix(self, unit_index: Int[np.ndarray, " singers"]) -> Bool[np.ndarray, "units units"]:
        counts = np.diff(self.bounds)
        units = np.bincount(unit_index, counts)
        has_trials = np.outer(units, units) > 0
        np.fill_diagonal(has_trials, np.bincount(unit_index, counts > 1) > 0)
        return has_trials

    def iterate_blocks(self, singer: int, is_target: bool) -> Iterator[TrialBlock]:
        first, end = self.bounds[singer], self.bounds[singer + 1]
        yield from self._iterate_rows(singer, *((first, end) if is_target else (end, len(self.order))))

    def iterate_between(self, left_singer: int, right_singer: int) -> Iterator[TrialBlock]:
        lower, higher = sorted((left_singer, right_singer))
        yield from self._iterate_rows(lower, self.bounds[higher], self.bounds[higher + 1])

    def _iterate_rows(self, singer: int, right_first: int, right_end: int) -> Iterator[TrialBlock]:
        first, end = self.bounds[singer], self.bounds[singer + 1]
        width = right_end - right_first
        rows_at_once = max(MAX_TRIALS_PER_BLOCK // max(width, 1), 1)
        for row in range(first, end if width else first, rows_at_once):
            rows = slice(row, min(row + rows_at_once, end))
            left, right = self.order[rows][:, None], self.order[right_first:right_end][None]
            for left_sides, right_sides in self.directions:
                scores = self.scoring.compute_score_matrix(left_sides[rows], right_sides[right_first:right_end])
                if right_first != first:
                    yield TrialBlock(singer, left, right, scores, is_target=False)
                    continue
                is_once = np.arange(right_first, right_end) > np.arange(rows.start, rows.stop)[:, None]
                row_index, column_index = np.nonzero(is_once)
                yield TrialBlock(singer, left[row_index, 0], right[0, column_index], scores[is_once], is_target=True)


def build_test_trials(trials: Trials, num_utterances: int, first_test: int) -> Trials:
    """Return trials whose test recordings are numbered from `first_test`: those of a singer against an utterance once,
    those of two utterances twice, as either of them is the test recording once.

    Args:
        trials: trials by the numbers of their utterances; models are numbered after the utterances.
        num_utterances: number of utterances.
        first_test: number of the first utterance as a test recording; they are in the order of the utterances.
    """
    by_right, by_left = trials.right < num_utterances, trials.left < num_utterances
    return Trials(
        np.concatenate([trials.left[by_right], first_test + trials.left[by_left]]),
        np.concatenate([first_test + trials.right[by_right], trials.right[by_left]]),
        np.concatenate([trials.is_target[by_right], trials.is_target[by_left]]),
        trials.models,
    )


class TrialListSource:
    """The trials of a list.

    Args:
        sides: prepared embeddings of the utterances.
        singer_index: singer of each utterance.
        scoring: scoring that prepared the sides.
        trials: pairs of utterances, or of singers' models and utterances; target trials are those with the same singer
            on both sides.
        first_model: number of the first model, after those of the utterances that models are known from.
    """

    def __init__(
        self,
        sides: TrialEmbeddings,
        singer_index: Int[np.ndarray, " utterances"],
        scoring: Scoring,
        trials: Trials,
        first_model: int = 0,
    ) -> None:
        self.singer_index, self.scoring, self.sides = singer_index, scoring, sides
        left_singers, right_singers = singer_index[trials.left], singer_index[trials.right]
        self.num_singers = int(singer_index.max(initial=-1)) + 1
        keys = left_singers * self.num_singers + right_singers
        order = np.argsort(keys, kind="stable")
        self.keys, self.left, self.right = keys[order], trials.left[order], trials.right[order]
        takes_best = ENROLMENT_SCORES[scoring.enrolment_score] is not None
        self.models, self.first_model = trials.models if takes_best else None, first_model  # else: means are sides

    def build_trial_matrix(self, unit_index: Int[np.ndarray, " singers"]) -> Bool[np.ndarray, "units units"]:
        left, right = np.divmod(np.unique(self.keys), self.num_singers)
        has_trials = build_trial_matrix(unit_index[left], unit_index[right], int(unit_index.max(initial=-1)) + 1)
        np.fill_diagonal(has_trials, np.bincount(unit_index[left], left == right, len(has_trials)) > 0)
        return has_trials

    def iterate_blocks(self, singer: int, is_target: bool) -> Iterator[TrialBlock]:
        first, own = singer * self.num_singers, singer * self.num_singers + singer
        if is_target:
            yield from self._iterate_key_range(own, own + 1)
        else:
            yield from self._iterate_key_range(first, own)
            yield from self._iterate_key_range(own + 1, first + self.num_singers)

    def iterate_between(self, left_singer: int, right_singer: int) -> Iterator[TrialBlock]:
        for first, second in dict.fromkeys([(left_singer, right_singer), (right_singer, left_singer)]):
            key = first * self.num_singers + second
            yield from self._iterate_key_range(key, key + 1)

    def _iterate_key_range(self, lowest: int, above: int) -> Iterator[TrialBlock]:
        first, end = np.searchsorted(self.keys, [lowest, above]).tolist()
        for start in range(first, end, MAX_TRIALS_PER_BLOCK // 16):  # whose embeddings are copied
            chosen = slice(start, min(start + MAX_TRIALS_PER_BLOCK // 16, end))
            left, right = self.left[chosen], self.right[chosen]
            scores = self._score(left, right)
            singer, other = divmod(int(self.keys[start]), self.num_singers)
            yield TrialBlock(singer, left, right, scores, is_target=singer == other)

    def _score(self, left: Int[np.ndarray, " trials"], right: Int[np.ndarray, " trials"]) -> np.ndarray:
        if self.models is None:
            return self.scoring.compute_pair_scores(self.sides[left], self.sides[right])
        num_models = len(self.models.singer_index)
        is_left = (left >= self.first_model) & (left < self.first_model + num_models)
        places = np.where(is_left, left, right) - self.first_model
        models = SingerModels(*(values[places] for values in vars(self.models).values()))
        utterances = slice(self.first_model)
        queries = self.sides[np.where(is_left, right, left)]
        return score_models(self.scoring, queries, self.sides[utterances], self.singer_index[utterances], models)
