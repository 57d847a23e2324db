"""Enrolment: singers represented by the mean of some of their utterances."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from singer_verify.errors import require_at_least
from singer_verify.evaluation.averaging import average_by_group, average_without
from singer_verify.evaluation.scoring.scoring import Scoring, TrialEmbeddings


@dataclass(frozen=True)
class SampledGallery:
    """Singers enrolled with some of their utterances, and their other utterances as queries.

    Attributes:
        singers: one side per singer.
        queries: (queries,), numbers of the utterances that are not enrolled.
        target_index: (queries,), index of each query's singer in `singers`.
    """

    singers: TrialEmbeddings
    queries: Int[np.ndarray, " queries"]
    target_index: Int[np.ndarray, " queries"]


@dataclass(frozen=True)
class SingerModels:
    """Singers as sides of trials, each the mean of the singer's utterances.

    Attributes:
        singer_index: (models,), number of each model's singer.
        left_out: (models,), number of an utterance that the mean leaves out, -1 for none.
        num_recordings: (models,), number of utterances in the mean, at least 1.
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
    return SampledGallery(enrol_singers(sides[enrolled], groups, scoring), queries, own)
