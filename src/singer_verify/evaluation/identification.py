"""Who is it: how often an utterance finds its singer among those enrolled."""

import numpy as np
from jaxtyping import Float, Int

from singer_verify.evaluation.comparison import Estimate, percentile_estimate
from singer_verify.evaluation.enrolment import DrawnGallery, drawn_gallery
from singer_verify.evaluation.intervals import draw_singers
from singer_verify.evaluation.normalised_rank import outranked
from singer_verify.evaluation.scoring import Scoring, Sides

TOP = (1, 5)
SCORES_AT_ONCE = 2**22


def identification_figures(
    sides: Sides,
    singer_index: Int[np.ndarray, " utterances"],
    scoring: Scoring,
    num_enrolment: int,
    num_resamples: int,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Accuracy of identification, and the mean normalised rank, with 95 % intervals from a bootstrap over singers.

    `num_enrolment` utterances of each singer, drawn, enrol him or her with their mean; every other utterance is scored
    against all singers enrolled. A singer without an utterance more than that is left out of it. In resamples the
    singers who are looked for change, not those among whom: a resample has fewer different singers, which would make
    it easier. For the rank, see `normalised_rank`; there both sides change, as with trials.

    Args:
        sides: of all utterances, as `scoring.sides` makes them.
        singer_index: who sings each, numbered from 0 without a gap.
        scoring: of these sides.
        num_enrolment: utterances for each singer.
        num_resamples: of the bootstrap.
        seed: of all draws.

    Returns:
        `top_1` and `top_5`, shares of utterances whose singer is among the first; `mean_normalised_rank`. What is
        certain or cannot be told is left out: `top_1` with fewer than 2 singers enrolled, `top_5` with fewer than 6,
        the rank without two singers, one of them with two utterances.

    Raises:
        SingerVerifyError: fewer than one enrolment utterance.
    """
    gallery = drawn_gallery(sides, singer_index, scoring, num_enrolment, seed)
    counts = np.bincount(singer_index)
    if len(counts) < 2 or counts.max() < 2:
        return {}
    any_two = np.broadcast_to(np.True_, (len(counts), len(counts)))
    draws = draw_singers(any_two, num_resamples, seed).astype(np.float64)
    figures: dict[str, Estimate] = {}
    for top, found in zip(TOP, _found(sides, gallery, scoring), strict=True):
        if len(gallery.singers) > top:
            figures[f"top_{top}"] = _share(found, singer_index[gallery.queries], draws)
    ranks = outranked(sides, singer_index, scoring, seed)
    value = ranks.mean_rank(np.ones((1, len(counts))))[0]
    figures["mean_normalised_rank"] = percentile_estimate(float(value), ranks.mean_rank(draws))
    return figures


def _share(
    found: Float[np.ndarray, " queries"],
    singers: Int[np.ndarray, " queries"],
    draws: Float[np.ndarray, "resamples singers"],
) -> Estimate:
    """Share of queries that found their singer, each counting as often as the singer was drawn."""
    num_found = np.bincount(singers, found, draws.shape[1])
    num_queries = np.bincount(singers, minlength=draws.shape[1])
    with np.errstate(invalid="ignore"):
        resampled = (draws @ num_found) / (draws @ num_queries)
    return percentile_estimate(float(found.mean()), resampled)


def _found(sides: Sides, gallery: DrawnGallery, scoring: Scoring) -> Float[np.ndarray, "tops queries"]:
    """For each number in `TOP`, whether each query's singer is among so many first; equal scores share the places."""
    found = np.zeros((len(TOP), len(gallery.queries)))
    step = max(1, SCORES_AT_ONCE // max(1, len(gallery.singers)))
    for first in range(0, len(gallery.queries), step):
        block = slice(first, first + step)
        scores = scoring.scores(sides[gallery.queries[block]], gallery.singers)
        right = np.take_along_axis(scores, gallery.own[block, None], axis=1)
        num_higher, num_equal = (scores > right).sum(axis=1), (scores == right).sum(axis=1)  # itself among the equal
        found[:, block] = [np.clip((top - num_higher) / num_equal, 0.0, 1.0) for top in TOP]
    return found
