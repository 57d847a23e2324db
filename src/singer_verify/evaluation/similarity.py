"""How like their references generated voices are: means by system, and differences between systems, with intervals.

A pair is a generated recording and a reference of the singer it is meant to sound like. Pairs of one target singer are
alike, and so are pairs of one song, so both are resampled: a pair counts as often as its singer was drawn times how
often its song was (Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (2)). Where each song is of
one singer only, singers alone are resampled, and songs alone where each singer has one song or all pairs are of one
singer. Systems are compared on what they have in common, on the same resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from singer_verify.evaluation.metrics.bootstrap import (
    Estimate,
    apply_holm_correction,
    compute_percentile_interval,
    compute_two_sided_p_value,
)

DEFAULT_NUM_RESAMPLES = 2000


@dataclass(frozen=True)
class SystemSimilarity:
    """The pairs of one system.

    Attributes:
        system: its name; empty where there is one only.
        num_pairs: number of pairs.
        num_singers: number of target singers.
        num_songs: number of songs.
        score: mean score.
        probability: mean probability of the same singer; None without a calibration.
        accepted: share of the pairs at or above the threshold; None without a threshold.
    """

    system: str
    num_pairs: int
    num_singers: int
    num_songs: int
    score: Estimate
    probability: Estimate | None
    accepted: Estimate | None


@dataclass(frozen=True)
class SystemDifference:
    """Two systems compared on the targets and songs that both have.

    Attributes:
        system: one system.
        other: the other one.
        num_items: number of combinations of target singer and song that both have.
        score: mean score of `system` minus that of `other`.
        p: two-sided p value, after Holm's correction for all pairs of systems; None without an interval.
    """

    system: str
    other: str
    num_items: int
    score: Estimate
    p: float | None


@dataclass(frozen=True)
class SimilarityResult:
    """Systems in order of their mean score, the best first, and each pair of them."""

    systems: tuple[SystemSimilarity, ...]
    differences: tuple[SystemDifference, ...]


def compare_systems(
    scores: Float[np.ndarray, " pairs"],
    systems: Sequence[str],
    singers: Sequence[str],
    songs: Sequence[str],
    probabilities: Float[np.ndarray, " pairs"] | None = None,
    threshold: float | None = None,
    num_resamples: int = DEFAULT_NUM_RESAMPLES,
    seed: int = 0,
) -> SimilarityResult:
    """Summarise the scores of each system, and compare the systems.

    Args:
        scores: score of each pair.
        systems: system that generated it.
        singers: target singer of each pair.
        songs: song of each pair.
        probabilities: probability of the same singer.
        threshold: score at or above which a pair is accepted as the same singer.
        num_resamples: number of resamples.
        seed: seed of the resamples.
    """
    weights = _draw_pair_weights(singers, songs, num_resamples, seed)
    named = np.asarray(systems, object)
    singer_of, song_of = np.asarray(singers, object), np.asarray(songs, object)
    accepted = None if threshold is None else (scores >= threshold).astype(np.float64)
    found = []
    for system in sorted(set(systems)):
        rows = np.flatnonzero(named == system)

        def estimate(
            values: Float[np.ndarray, " pairs"] | None, rows: Int[np.ndarray, " rows"] = rows
        ) -> Estimate | None:
            return None if values is None else _estimate_mean(values[rows], weights[:, rows])

        score = estimate(scores)
        assert score is not None
        num_singers, num_songs = len(set(singer_of[rows])), len(set(song_of[rows]))
        found.append(
            SystemSimilarity(
                system, len(rows), num_singers, num_songs, score, estimate(probabilities), estimate(accepted)
            )
        )
    found.sort(key=lambda summary: -summary.score.value)
    differences = [
        _compare(scores, named, singer_of, song_of, weights, (one.system, other.system))
        for one, other in combinations(found, 2)
    ]
    return SimilarityResult(tuple(found), _correct_p_values([item for item in differences if item is not None]))


def _draw_pair_weights(
    singers: Sequence[str], songs: Sequence[str], num_resamples: int, seed: int
) -> Float[np.ndarray, "resamples pairs"]:
    """Draw how often each pair counts in each resample of singers and songs."""
    generator = np.random.default_rng(seed)
    weights = np.ones((num_resamples, len(singers)))
    for labels in _choose_factors(singers, songs):
        names, numbers = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
        counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=num_resamples)
        weights *= counts[:, numbers]
    return weights


def _choose_factors(singers: Sequence[str], songs: Sequence[str]) -> list[Sequence[str]]:
    """Choose which labels are resampled; the finer of two of which one is nested in the other would count twice."""
    num_singers, num_songs = len(set(singers)), len(set(songs))
    num_items = len(set(zip(singers, songs, strict=True)))
    if num_items == num_songs and num_singers > 1:
        return [singers]
    if num_items == num_singers and num_songs > 1:
        return [songs]
    return [labels for labels, number in ((singers, num_singers), (songs, num_songs)) if number > 1]


def _resample_mean(
    values: Float[np.ndarray, " rows"], weights: Float[np.ndarray, "resamples rows"]
) -> Float[np.ndarray, " resamples"]:
    """Return the mean in each resample; NaN where nothing was drawn, and throughout where nothing can be resampled."""
    if (weights == weights[0]).all():
        return np.full(len(weights), np.nan)
    totals = weights.sum(axis=1)
    return np.divide(weights @ values, totals, out=np.full(len(totals), np.nan), where=totals > 0)


def _estimate_mean(values: Float[np.ndarray, " rows"], weights: Float[np.ndarray, "resamples rows"]) -> Estimate:
    """Return a mean with its interval; there is none where nothing can be resampled."""
    return compute_percentile_interval(float(values.mean()), _resample_mean(values, weights))


def _compare(
    scores: Float[np.ndarray, " pairs"],
    systems: np.ndarray,
    singers: np.ndarray,
    songs: np.ndarray,
    weights: Float[np.ndarray, "resamples pairs"],
    names: tuple[str, str],
) -> SystemDifference | None:
    """Compare two systems; None where they have no target and song in common."""
    rows_by_item: list[dict[tuple[str, str], list[int]]] = [{}, {}]
    for rows, name in zip(rows_by_item, names, strict=True):
        for row in np.flatnonzero(systems == name):
            rows.setdefault((singers[row], songs[row]), []).append(int(row))
    common = sorted(rows_by_item[0].keys() & rows_by_item[1].keys())
    if not common:
        return None
    means = [np.array([scores[rows[item]].mean() for item in common]) for rows in rows_by_item]
    first = [rows_by_item[0][item][0] for item in common]  # weights are those of singer and song, alike in both systems
    difference = means[0] - means[1]
    resampled = _resample_mean(difference, weights[:, first])
    estimate = compute_percentile_interval(float(difference.mean()), resampled)
    if np.isnan(estimate.low):
        return SystemDifference(*names, len(common), estimate, None)
    p = compute_two_sided_p_value(resampled[np.isfinite(resampled)], len({singer for singer, _ in common}))
    return SystemDifference(*names, len(common), estimate, p)


def _correct_p_values(differences: list[SystemDifference]) -> tuple[SystemDifference, ...]:
    corrected = iter(apply_holm_correction([item.p for item in differences if item.p is not None]))
    return tuple(
        item
        if item.p is None
        else SystemDifference(item.system, item.other, item.num_items, item.score, next(corrected))
        for item in differences
    )
