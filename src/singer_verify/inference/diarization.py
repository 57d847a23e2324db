"""Diarization: who of a gallery sings when in a recording."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from singer_verify.errors import require_between
from singer_verify.evaluation.scoring.scoring import Threshold
from singer_verify.inference.enrolment import SILENT, UNKNOWN_SINGER, describe_enrolment_mismatch
from singer_verify.inference.gallery import Gallery
from singer_verify.inference.verification import resolve_threshold
from singer_verify.inference.windows import RecordingEmbedding

MIN_SILENT_S = 0.5  # shorter pauses belong to the segment around them
NO_PAUSES_S = np.zeros((0, 2))


@dataclass(frozen=True)
class Segment:
    """A stretch of time with one singer, `unknown`, or `silent`.

    Attributes:
        start_s: start of the segment.
        end_s: end of the segment, and start of the next.
        who: the singer's name, `unknown` or `silent`.
        score: mean over its windows of the smoothed score of the singer, or of the best candidate; None where silent.
    """

    start_s: float
    end_s: float
    who: str
    score: float | None


@dataclass(frozen=True)
class Diarization:
    """Singers of the windows of a recording, and of the time that each stands for.

    Attributes:
        singers: names, in alphabetical order.
        starts_s: (windows,), when each window begins.
        ends_s: (windows,), when it ends.
        scores: (windows, singers), of each window alone.
        smoothed_scores: (windows, singers), of the time around each window.
        best: (windows,), number of the singer with the highest smoothed score, among those at or above their threshold
            if there are any.
        is_known: (windows,), whether that score is at or above the threshold; true throughout without one.
        is_silent: (windows,), whether no one sings in it.
        pauses_s: (pauses, 2), start and end of the stretches without a voice that no window holds.
        thresholds: threshold of each singer; empty where none is known.
        seconds: duration of the recording.
        remarks: sentences on what makes the result doubtful.
        is_clustered: whether the singers were found in the recording itself, and only numbered.
    """

    singers: tuple[str, ...]
    starts_s: Float[np.ndarray, " windows"]
    ends_s: Float[np.ndarray, " windows"]
    scores: Float[np.ndarray, "windows singers"]
    smoothed_scores: Float[np.ndarray, "windows singers"]
    best: Int[np.ndarray, " windows"]
    is_known: Bool[np.ndarray, " windows"]
    is_silent: Bool[np.ndarray, " windows"]
    pauses_s: Float[np.ndarray, "pauses 2"]
    thresholds: tuple[Threshold, ...]
    seconds: float
    remarks: tuple[str, ...]
    is_clustered: bool = False

    def __repr__(self) -> str:
        return (
            f"Diarization({self.seconds:.1f} s, {len(self.starts_s)} windows, {len(self.segments)} segments, "
            f"singers={', '.join(sorted({*self.who} - {SILENT}))})"
        )

    @property
    def who(self) -> tuple[str, ...]:
        """The singer of each window, `unknown` or `silent`."""
        named = np.where(self.is_known, np.array(self.singers, dtype=np.str_)[self.best], UNKNOWN_SINGER)
        return tuple(np.where(self.is_silent, SILENT, named).tolist())

    @property
    def best_scores(self) -> Float[np.ndarray, " windows"]:
        """Smoothed score of the best singer of each window."""
        return np.take_along_axis(self.smoothed_scores, self.best[:, None], axis=1)[:, 0]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Segments that cover the recording from its beginning to its end.

        A window stands for the time up to halfway to the middles of its neighbours; consecutive windows of the same
        singer are one segment. A pause of half a second or more that no window holds is a silent segment.
        """
        pauses = self.pauses_s[self.pauses_s[:, 1] - self.pauses_s[:, 0] >= MIN_SILENT_S]
        bounds = compute_window_bounds_s(self.starts_s, self.ends_s, self.seconds, pauses)
        who, top, segments = self.who, self.best_scores, []
        for first, end in find_runs(who):
            score = None if who[first] == SILENT else float(top[first:end].mean())
            sung = cut_out_pauses(float(bounds[first]), float(bounds[end]), pauses)
            segments += [Segment(start_s, end_s, who[first], score) for start_s, end_s in sung]
        segments += [Segment(start_s, end_s, SILENT, None) for start_s, end_s in pauses.tolist()]
        return tuple(sorted(segments, key=lambda segment: segment.start_s))


def diarize(
    gallery: Gallery, recording: RecordingEmbedding, smooth_s: float, prior: float | None = None
) -> Diarization:
    """Find who sings when.

    The time around each window, of the windows whose middles lie within `smooth_s` / 2 of its own, silent ones left
    out, is embedded as a recording of its own and scored against each singer. The window is the singer's with the
    highest score among those that are at or above the singer's threshold. Which windows are silent,
    `RecordingEmbedding.is_silent` says.

    Args:
        gallery: enrolled singers and the scoring.
        recording: embedded recording with its windows.
        smooth_s: duration embeddings are averaged over; 0 scores each window alone.
        prior: see `resolve_threshold`.

    Raises:
        SingerVerifyError: nobody is enrolled, a duration below 0, or a prior that has no effect.
    """
    require_between(0.0, 3600.0, smooth_s=smooth_s)
    enrolled, scoring = gallery.known(), gallery.scoring
    middles_s, is_silent = (recording.starts_s + recording.ends_s) / 2, recording.is_silent
    stretches = smooth_embeddings(recording.windows, middles_s, smooth_s, ~is_silent)
    scores, smoothed = (
        enrolled.compute_scores(scoring, scoring.prepare_embeddings(rows)) for rows in (recording.windows, stretches)
    )
    thresholds = [resolve_threshold(scoring.with_enrolment_size(number), prior) for number in enrolled.num_recordings]
    is_over = smoothed >= np.array([-np.inf if threshold is None else threshold.score for threshold in thresholds])
    stretch_s = smooth_s + float((recording.ends_s - recording.starts_s).max())
    return Diarization(
        enrolled.names,
        recording.starts_s,
        recording.ends_s,
        scores,
        smoothed,
        best=np.where(is_over | ~is_over.any(axis=1, keepdims=True), smoothed, -np.inf).argmax(axis=1),
        is_known=np.asarray(is_over.any(axis=1)),
        is_silent=is_silent,
        pauses_s=recording.pauses_s,
        thresholds=tuple(threshold for threshold in thresholds if threshold is not None),
        seconds=recording.seconds,
        remarks=(
            *recording.remarks,
            *describe_enrolment_mismatch(scoring, max(enrolled.num_recordings)),
            *_describe_short_segments(thresholds[0], min(stretch_s, recording.seconds)),
        ),
    )


def _describe_short_segments(threshold: Threshold | None, stretch_s: float) -> tuple[str, ...]:
    """Return a remark if the threshold was fitted to whole recordings, longer than the segments decided here."""
    if threshold is None or threshold.is_user_defined:
        return ()
    return (
        f"thresholds were fitted to whole recordings; stretches of {stretch_s:.1f} s score lower than longer "
        f"recordings, so some of a singer's time may be called {UNKNOWN_SINGER}.",
    )


def format_minutes(seconds: float) -> str:
    """Format minutes and whole seconds, for instance 83.4 → "1:23", 3723 → "62:03"."""
    return f"{math.floor(seconds) // 60}:{math.floor(seconds) % 60:02d}"


def smooth_embeddings(
    windows: Float[np.ndarray, "windows embedding"],
    middles_s: Float[np.ndarray, " windows"],
    seconds: float,
    counts: Bool[np.ndarray, " windows"],
) -> Float[np.ndarray, "windows embedding"]:
    """Average embeddings over the time around each window, as a recording of that length would be embedded.

    Averaging scores instead would not do: the mean of cosines is lower than the cosine of the mean.

    Args:
        windows: rows of unit length, in order of time.
        middles_s: middles of the windows, rising.
        seconds: windows whose middles lie within half of it are averaged; 0 leaves windows as they are.
        counts: mask of the windows that are averaged; a window with none of them around keeps its own embedding.
    """
    numbers = np.concatenate([[0], np.cumsum(counts)])
    sums = np.concatenate([np.zeros((1, windows.shape[1])), np.cumsum(windows * counts[:, None], 0, np.float64)])
    tolerance = 1e-6
    first = np.searchsorted(middles_s, middles_s - seconds / 2 - tolerance)
    end = np.searchsorted(middles_s, middles_s + seconds / 2 + tolerance)
    has_some = (numbers[end] > numbers[first])[:, None]
    rows = np.where(has_some, sums[end] - sums[first], windows)
    directions: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return directions.astype(windows.dtype)


def compute_window_bounds_s(
    starts_s: Float[np.ndarray, " windows"],
    ends_s: Float[np.ndarray, " windows"],
    seconds: float,
    pauses_s: Float[np.ndarray, "pauses 2"] = NO_PAUSES_S,
) -> Float[np.ndarray, " bounds"]:
    """Compute the bounds of the time that each window stands for: halfway to the middles of its neighbours.

    Args:
        starts_s: starts of the windows.
        ends_s: ends of the windows.
        seconds: duration of the recording.
        pauses_s: start and end of pauses, which do not count as time between the middles.
    """
    starts_s, ends_s = (times_s - _sum_pauses_before(times_s, pauses_s) for times_s in (starts_s, ends_s))
    middles = (starts_s + ends_s) / 2
    bounds = (middles[1:] + middles[:-1]) / 2
    durations = pauses_s[:, 1] - pauses_s[:, 0]
    pause_times = pauses_s[:, 0] - np.concatenate([[0.0], np.cumsum(durations)])[: len(pauses_s)]
    before = np.concatenate([[0.0], np.cumsum(durations)])[np.searchsorted(pause_times, bounds, side="right")]
    return np.concatenate([[0.0], bounds + before, [seconds]])


def _sum_pauses_before(
    times_s: Float[np.ndarray, " times"], pauses_s: Float[np.ndarray, "pauses 2"]
) -> Float[np.ndarray, " times"]:
    """Return the duration of the pauses before each time."""
    held = np.clip(times_s[:, None] - pauses_s[:, 0], 0.0, pauses_s[:, 1] - pauses_s[:, 0])
    total: np.ndarray = held.sum(axis=1)
    return total


def cut_out_pauses(start_s: float, end_s: float, pauses_s: Float[np.ndarray, "pauses 2"]) -> list[tuple[float, float]]:
    """Return the stretches of a segment between the pauses, in order."""
    inside = [(first, last) for first, last in pauses_s.tolist() if first < end_s and last > start_s]
    edges = [start_s, *(time_s for pause in inside for time_s in pause), end_s]
    return [(first, last) for first, last in zip(edges[::2], edges[1::2], strict=True) if last - first > 1e-9]


def find_runs(labels: Sequence[object]) -> list[tuple[int, int]]:
    """Return start and end (exclusive) of each run of equal labels."""
    firsts = [n for n in range(len(labels)) if n == 0 or labels[n] != labels[n - 1]]
    return list(zip(firsts, [*firsts[1:], len(labels)][: len(firsts)], strict=True))
