"""Identification: how often an utterance finds its singer among those enrolled, and the mean normalised rank."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from singer_verify.evaluation.metrics.bootstrap import Estimate, compute_percentile_interval, draw_bootstrap_weights
from singer_verify.evaluation.scoring.enrolment import SampledGallery, compute_singer_scores, draw_gallery
from singer_verify.evaluation.scoring.scoring import Scoring, TrialEmbeddings

MAX_RANK_QUERIES = 1000  # as many as in the source
MAX_RANK_SCORES_PER_BLOCK = 2**22
TOP_RANKS = (1, 5)
MAX_IDENTIFICATION_SCORES_PER_BLOCK = 2**22


@dataclass(frozen=True)
class NormalisedRanks:
    """Utterances of other singers that rank above those of the query's own singer, for each query.

    Attributes:
        singers: (queries,), the singer of each query.
        num_above: (queries, singers), mean number of utterances of each other singer that score higher than one of the
            query's own singer; equal scores count one half.
        num_utterances: (singers,).
    """

    singers: Int[np.ndarray, " queries"]
    num_above: Float[np.ndarray, "queries singers"]
    num_utterances: Int[np.ndarray, " singers"]

    def compute_mean_rank(self, counts: Float[np.ndarray, "resamples singers"]) -> Float[np.ndarray, " resamples"]:
        """Compute the mean normalised rank where each singer counts so many times, on either side; NaN without queries.

        Rank 0 is first; it is divided by the number of utterances that are ranked, so 0 is best and chance 0.5. Torres,
        Lattner & Richard 2023, Singer identity representation learning using self-supervised techniques, ISMIR, and
        `compute_rank` in the `eval.py` of its code. There, one utterance of the query's singer is ranked among 512 of
        other singers, drawn for each query; here every one among all, which is the mean over all such draws (to within
        1 in 512, for the one more that both are divided by).
        """
        others = (counts @ self.num_utterances)[:, None] - counts * self.num_utterances  # (resamples, singers)
        ranks = (counts @ self.num_above.T) / (others[:, self.singers] + 1.0)
        weights = counts[:, self.singers]
        with np.errstate(invalid="ignore"):
            mean: np.ndarray = (weights * ranks).sum(axis=1) / weights.sum(axis=1)
        return mean


def compute_normalised_ranks(
    sides: TrialEmbeddings,
    singer_index: Int[np.ndarray, " utterances"],
    scoring: Scoring,
    seed: int,
    tests: TrialEmbeddings | None = None,
) -> NormalisedRanks:
    """Rank utterances for each query: every utterance whose singer has another one, or a draw of `MAX_RANK_QUERIES`."""
    tests = sides if tests is None else tests
    num_utterances = np.bincount(singer_index)
    queries = np.flatnonzero(num_utterances[singer_index] > 1)
    if len(queries) > MAX_RANK_QUERIES:
        queries = np.sort(np.random.default_rng(seed).choice(queries, MAX_RANK_QUERIES, replace=False))
    above = np.zeros((len(queries), len(num_utterances)))
    step = max(1, MAX_RANK_SCORES_PER_BLOCK // len(sides))
    for first in range(0, len(queries), step):
        block = queries[first : first + step]
        for place, scores in enumerate(scoring.compute_score_matrix(tests[block], sides), first):
            above[place] = _count_above(scores, int(queries[place]), singer_index, len(num_utterances))
    return NormalisedRanks(singer_index[queries], above, num_utterances)


def _count_above(
    scores: Float[np.ndarray, " utterances"], query: int, singer_index: np.ndarray, num_singers: int
) -> Float[np.ndarray, " singers"]:
    is_own = singer_index == singer_index[query]
    is_own[query] = False
    own = np.sort(scores[is_own])
    num_beaten = np.searchsorted(own, scores, side="left") + np.searchsorted(own, scores, side="right")
    above: np.ndarray = np.bincount(singer_index, 0.5 * num_beaten / len(own), num_singers)
    above[singer_index[query]] = 0.0
    return above


def compute_identification_metrics(
    sides: TrialEmbeddings,
    singer_index: Int[np.ndarray, " utterances"],
    scoring: Scoring,
    num_enrolment: int,
    num_resamples: int,
    seed: int = 0,
    tests: TrialEmbeddings | None = None,
) -> dict[str, Estimate]:
    """Compute identification accuracy and the mean normalised rank, with 95 % intervals from a bootstrap over singers.

    Each singer is enrolled with `num_enrolment` randomly drawn utterances: their mean, or the best of them, as the
    scoring says. Every other utterance is scored against all enrolled singers. Singers with no further utterance are
    left out. Resampling changes the queries, not the gallery: a resample has fewer different singers, which would make
    the task easier. For the rank, see
    `NormalisedRanks`; there both sides change, as with trials.

    Args:
        sides: prepared embeddings of all utterances, from `Scoring.prepare_embeddings`.
        singer_index: singer of each utterance, numbered from 0 without a gap.
        scoring: scoring that prepared the sides.
        num_enrolment: number of enrolment utterances per singer.
        num_resamples: number of bootstrap resamples.
        seed: seed of all draws.
        tests: prepared embeddings of the same utterances as queries; None where they are those enrolled.

    Returns:
        `top_1` and `top_5`, shares of queries whose singer is among the first; `mean_normalised_rank`. Trivial or
        undefined ones are absent: `top_1` with fewer than 2 singers enrolled, `top_5` with fewer than 6, the rank
        without two singers, one of them with two utterances.

    Raises:
        SingerVerifyError: fewer than one enrolment utterance.
    """
    gallery = draw_gallery(sides, singer_index, scoring, num_enrolment, seed)
    counts = np.bincount(singer_index)
    if len(counts) < 2 or counts.max() < 2:
        return {}
    any_two = np.broadcast_to(np.True_, (len(counts), len(counts)))
    draws = draw_bootstrap_weights(any_two, num_resamples, seed).astype(np.float64)
    metrics: dict[str, Estimate] = {}
    for top, hits in zip(TOP_RANKS, _compute_top_hits(tests or sides, gallery, scoring), strict=True):
        if gallery.num_singers > top:
            metrics[f"top_{top}"] = _estimate_hit_rate(hits, singer_index[gallery.queries], draws)
    ranks = compute_normalised_ranks(sides, singer_index, scoring, seed, tests)
    value = ranks.compute_mean_rank(np.ones((1, len(counts))))[0]
    metrics["mean_normalised_rank"] = compute_percentile_interval(float(value), ranks.compute_mean_rank(draws))
    return metrics


def _estimate_hit_rate(
    hits: Float[np.ndarray, " queries"],
    singers: Int[np.ndarray, " queries"],
    draws: Float[np.ndarray, "resamples singers"],
) -> Estimate:
    """Return the share of queries that found their singer, each counted as often as its singer was drawn."""
    num_hits = np.bincount(singers, hits, draws.shape[1])
    num_queries = np.bincount(singers, minlength=draws.shape[1])
    with np.errstate(invalid="ignore"):
        resampled = (draws @ num_hits) / (draws @ num_queries)
    return compute_percentile_interval(float(hits.mean()), resampled)


def _compute_top_hits(
    sides: TrialEmbeddings, gallery: SampledGallery, scoring: Scoring
) -> Float[np.ndarray, "tops queries"]:
    """Return whether each query's singer is among the first, for each of `TOP_RANKS`; equal scores share places."""
    hits = np.zeros((len(TOP_RANKS), len(gallery.queries)))
    step = max(1, MAX_IDENTIFICATION_SCORES_PER_BLOCK // max(1, len(gallery.singers)))
    for first in range(0, len(gallery.queries), step):
        block = slice(first, first + step)
        scores = compute_singer_scores(scoring, sides[gallery.queries[block]], gallery.singers, gallery.groups)
        right = np.take_along_axis(scores, gallery.target_index[block, None], axis=1)
        num_higher, num_equal = (scores > right).sum(axis=1), (scores == right).sum(axis=1)  # equal: itself included
        hits[:, block] = [np.clip((top - num_higher) / num_equal, 0.0, 1.0) for top in TOP_RANKS]
    return hits
