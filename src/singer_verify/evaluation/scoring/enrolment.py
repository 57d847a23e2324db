"""Enrolment: singers represented by some of their utterances, and the score of a recording against a singer."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from singer_verify.errors import require_at_least
from singer_verify.evaluation.averaging import average_by_group, average_without
from singer_verify.evaluation.scoring.scoring import ENROLMENT_SCORES, Scoring, TrialEmbeddings

MAX_MODEL_SCORES_PER_BLOCK = 2**22
MIN_SINGERS_AT_ONCE = 200  # with fewer, a loop over singers is as fast


@dataclass(frozen=True)
class SampledGallery:
    """Singers enrolled with some of their utterances, and their other utterances as queries.

    Attributes:
        singers: one side per singer, or the enrolled utterances where singers are not scored by their mean.
        queries: (queries,), numbers of the utterances that are not enrolled.
        target_index: (queries,), index of each query's singer.
        groups: (sides,), singer of each of `singers`; None where each is one singer.
    """

    singers: TrialEmbeddings
    queries: Int[np.ndarray, " queries"]
    target_index: Int[np.ndarray, " queries"]
    groups: Int[np.ndarray, " sides"] | None = None

    @property
    def num_singers(self) -> int:
        return count_singers(self.singers, self.groups)


@dataclass(frozen=True)
class SingerModels:
    """Singers as sides of trials, each known from the singer's utterances.

    Attributes:
        singer_index: (models,), number of each model's singer.
        left_out: (models,), number of an utterance that the model leaves out, -1 for none.
        num_recordings: (models,), number of utterances in the model, at least 1.
    """

    singer_index: Int[np.ndarray, " models"]
    left_out: Int[np.ndarray, " models"]
    num_recordings: Int[np.ndarray, " models"]


def enrol_singers(sides: TrialEmbeddings, groups: Int[np.ndarray, " utterances"], scoring: Scoring) -> TrialEmbeddings:
    """Enrol singers: the mean of the projected embeddings of each singer's utterances.

    Args:
        sides: prepared embeddings of the utterances.
        groups: singer of each utterance, numbered from 0 without a gap.
        scoring: scoring that prepared the sides.
    """
    return scoring.prepare_projected(average_by_group(sides.embeddings, groups))


def count_singers(sides: TrialEmbeddings, groups: Int[np.ndarray, " sides"] | None) -> int:
    """Count the singers that sides stand for: one each, or those of `groups`."""
    return len(sides) if groups is None else int(groups.max(initial=-1)) + 1


def compute_singer_scores(
    scoring: Scoring,
    queries: TrialEmbeddings,
    sides: TrialEmbeddings,
    groups: Int[np.ndarray, " sides"] | None = None,
) -> Float[np.ndarray, "queries singers"]:
    """Score queries against enrolled singers.

    Args:
        scoring: scoring that prepared both.
        queries: recordings whose singer is asked for.
        sides: the mean of each singer, or all enrolled recordings where the scoring takes the best of them.
        groups: singer of each recording, numbered from 0 without a gap; None for means.
    """
    scores = scoring.compute_score_matrix(queries, sides)
    num_best = ENROLMENT_SCORES[scoring.enrolment_score]
    if groups is None or num_best is None:
        return scores
    if (np.diff(groups) < 0).any():
        order = np.argsort(groups, kind="stable")
        scores, groups = scores[:, order], groups[order]
    bounds = np.searchsorted(groups, np.arange(1, count_singers(sides, groups)))
    if len(bounds) >= MIN_SINGERS_AT_ONCE:
        return np.stack([_average_best_by_group(row, np.concatenate([[0], bounds]), num_best) for row in scores])
    columns = [_average_best(part, num_best) for part in np.split(scores, bounds, axis=1)]
    return np.stack(columns, axis=1)


def _average_best(scores: Float[np.ndarray, "queries recordings"], num_best: int) -> Float[np.ndarray, " queries"]:
    """Average the highest `num_best` finite scores of each row, or all where there are fewer."""
    best = -np.partition(-scores, min(num_best, scores.shape[1]) - 1, axis=1)[:, :num_best]
    is_finite = np.isfinite(best)
    mean: np.ndarray = np.where(is_finite, best, 0.0).sum(axis=1) / is_finite.sum(axis=1)
    return mean


def _average_best_by_group(
    scores: Float[np.ndarray, " recordings"], starts: Int[np.ndarray, " singers"], num_best: int
) -> Float[np.ndarray, " singers"]:
    """Average the highest `num_best` finite scores of each group, or all where there are fewer.

    Args:
        scores: scores, group by group.
        starts: place of the first score of each group.
        num_best: number of scores.
    """
    rest, counts = scores.copy(), np.diff(np.append(starts, len(scores)))
    total, num_finite = np.zeros(len(starts), scores.dtype), np.zeros(len(starts), np.int64)
    for _ in range(num_best):
        best = np.maximum.reduceat(rest, starts)
        is_finite = np.isfinite(best)
        total += np.where(is_finite, best, 0)
        num_finite += is_finite
        if num_best > 1:  # take the first of the best of each group out
            places = np.flatnonzero(rest == np.repeat(best, counts))
            _, first = np.unique(np.searchsorted(starts, places, side="right"), return_index=True)
            rest[places[first]] = -np.inf
    mean: np.ndarray = total / num_finite
    return mean


def score_models(
    scoring: Scoring,
    queries: TrialEmbeddings,
    sides: TrialEmbeddings,
    singer_index: Int[np.ndarray, " utterances"],
    models: SingerModels,
) -> Float[np.ndarray, " queries"]:
    """Score each query against the model at the same index by the best of its recordings.

    Args:
        scoring: scoring that prepared both, which takes the best scores.
        queries: recordings.
        sides: prepared embeddings of the utterances that models are known from.
        singer_index: singer of each utterance.
        models: a model for each query.
    """
    num_best = ENROLMENT_SCORES[scoring.enrolment_score]
    assert num_best is not None
    scores = np.empty(len(queries))
    for singer in np.unique(models.singer_index):
        asked, members = np.flatnonzero(models.singer_index == singer), np.flatnonzero(singer_index == singer)
        step = max(1, MAX_MODEL_SCORES_PER_BLOCK // len(members))
        for first in range(0, len(asked), step):
            block = asked[first : first + step]
            matrix = scoring.compute_score_matrix(queries[block], sides[members])
            matrix[models.left_out[block, None] == members] = -np.inf
            scores[block] = _average_best(matrix, num_best)
    return scores


def enrol_models(
    sides: TrialEmbeddings, singer_index: Int[np.ndarray, " utterances"], models: SingerModels, scoring: Scoring
) -> TrialEmbeddings:
    """Enrol the singers that a list of trials names, as `enrol_singers` does, each without the utterance to leave out.

    Args:
        sides: prepared embeddings of the utterances.
        singer_index: singer of each utterance.
        models: singers, and utterances to leave out.
        scoring: scoring that prepared the sides.
    """
    means = average_without(sides.embeddings, singer_index, models.singer_index, models.left_out)
    return scoring.prepare_projected(means)


def draw_enrolment(
    singer_index: Int[np.ndarray, " utterances"], num_enrolment: int, seed: int
) -> Bool[np.ndarray, " utterances"]:
    """Draw `num_enrolment` utterances of each singer, without replacement, and mark them.

    Raises:
        SingerVerifyError: fewer than one utterance for each singer.
    """
    require_at_least(1, num_enrolment=num_enrolment)
    order = np.random.default_rng(seed).permutation(len(singer_index))
    by_singer = order[np.argsort(singer_index[order], kind="stable")]
    ordered = singer_index[by_singer]
    places = np.arange(len(ordered)) - np.searchsorted(ordered, ordered, side="left")  # within the singer
    is_enrolled = np.zeros(len(singer_index), bool)
    is_enrolled[by_singer[places < num_enrolment]] = True
    return is_enrolled


def draw_gallery(
    sides: TrialEmbeddings,
    singer_index: Int[np.ndarray, " utterances"],
    scoring: Scoring,
    num_enrolment: int,
    seed: int,
) -> SampledGallery:
    """Enrol each singer with `num_enrolment` random utterances; the others are queries.

    Singers without others are left out.

    Raises:
        SingerVerifyError: fewer than one enrolment utterance.
    """
    is_enrolled = draw_enrolment(singer_index, num_enrolment, seed)
    is_kept = (np.bincount(singer_index) > num_enrolment)[singer_index]
    enrolled, queries = is_kept & is_enrolled, np.flatnonzero(is_kept & ~is_enrolled)
    _, groups = np.unique(singer_index[enrolled], return_inverse=True)
    _, own = np.unique(singer_index[queries], return_inverse=True)
    if ENROLMENT_SCORES[scoring.enrolment_score] is not None:
        return SampledGallery(sides[enrolled], queries, own, groups)
    return SampledGallery(enrol_singers(sides[enrolled], groups, scoring), queries, own)
