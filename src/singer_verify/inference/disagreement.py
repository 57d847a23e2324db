"""Recordings that seem to hold two singers, one of whom sings in the other recording."""

import numpy as np
from jaxtyping import Bool

from singer_verify.evaluation.scoring.scoring import Scoring
from singer_verify.inference.segments import compute_window_bounds_s, find_runs, format_span, smooth_embeddings
from singer_verify.inference.windows import RecordingEmbedding, average_embeddings

MIN_SEGMENT_S = 3.0  # shorter ones score lower than recordings do, and differ by what is sung
MAX_LISTED_SPANS = 3  # named of a recording


def describe_mixed_singers(
    scoring: Scoring, threshold: float, left: RecordingEmbedding, right: RecordingEmbedding
) -> tuple[str, ...]:
    """A sentence on each recording that seems to hold two singers.

    That is one which has stretches of at least `STRETCH_S` at or above the threshold with the whole of the other
    recording, and others of at least that length under it, where these two parts are under the threshold with each
    other too. Silence does not count. Nothing is found in recordings under twice that length.

    Args:
        scoring: that decides.
        threshold: of its scores.
        left: one recording.
        right: the other.
    """
    both = (_describe_mixed_recording(scoring, threshold, *each) for each in ((left, right), (right, left)))
    return tuple(sentence for sentences in both for sentence in sentences)


def _describe_mixed_recording(
    scoring: Scoring, threshold: float, recording: RecordingEmbedding, other: RecordingEmbedding
) -> tuple[str, ...]:
    sounding = np.flatnonzero(~recording.is_silent)
    windows, starts_s, ends_s = (each[sounding] for each in (recording.windows, recording.starts_s, recording.ends_s))
    bounds = compute_window_bounds_s(starts_s, ends_s, recording.seconds)
    stretches = smooth_embeddings(windows, (starts_s + ends_s) / 2, MIN_SEGMENT_S, np.ones(len(windows), bool))
    scores = scoring.compute_score_matrix(
        scoring.prepare_embeddings(stretches), scoring.prepare_embeddings(other.embedding[None])
    )[:, 0]
    like, unlike = (_find_long_runs(is_part, bounds) for is_part in (scores >= threshold, scores < threshold))
    if not (like and unlike):
        return ()
    parts = [
        scoring.prepare_embeddings(
            average_embeddings(np.concatenate([windows[first:end] for first, end in part]))[None]
        )
        for part in (like, unlike)
    ]
    if scoring.compute_pair_scores(*parts)[0] >= threshold:
        return ()
    when = [_format_spans([(bounds[first], bounds[end]) for first, end in part]) for part in (like, unlike)]
    return (
        f"{recording.name}: may hold two singers: {when[0]} is like {other.name}, {when[1]} is not, and these parts "
        f"are not like each other.",
    )


def _find_long_runs(is_part: Bool[np.ndarray, " windows"], bounds: np.ndarray) -> list[tuple[int, int]]:
    """Runs of windows that are of the part and stand for `STRETCH_S` or more."""
    found = find_runs(is_part.tolist())
    return [(first, end) for first, end in found if is_part[first] and bounds[end] - bounds[first] >= MIN_SEGMENT_S]


def _format_spans(times_s: list[tuple[float, float]]) -> str:
    """The longest of them, in order of time."""
    longest = sorted(sorted(times_s, key=lambda each: each[0] - each[1])[:MAX_LISTED_SPANS])
    others = len(times_s) - MAX_LISTED_SPANS
    return ", ".join(format_span(*each) for each in longest) + (f" and {others} more" if others > 0 else "")
