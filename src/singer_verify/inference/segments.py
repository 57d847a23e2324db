"""Segments of a recording: smoothing of window embeddings, bounds of windows, runs of equal labels."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float


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
        middles_s: of the windows, rising.
        seconds: windows whose middles lie within half of it are averaged; 0 leaves windows as they are.
        counts: which windows are averaged; a window with none of them around keeps its own embedding.
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
    starts_s: Float[np.ndarray, " windows"], ends_s: Float[np.ndarray, " windows"], seconds: float
) -> Float[np.ndarray, " bounds"]:
    """Compute the bounds of the time that each window stands for: halfway to the middles of its neighbours.

    Args:
        starts_s: of the windows.
        ends_s: likewise.
        seconds: duration of the recording.
    """
    middles = (starts_s + ends_s) / 2
    return np.concatenate([[0.0], (middles[1:] + middles[:-1]) / 2, [seconds]])


def find_runs(labels: Sequence[object]) -> list[tuple[int, int]]:
    """Return start and end (exclusive) of each run of equal labels."""
    firsts = [n for n in range(len(labels)) if n == 0 or labels[n] != labels[n - 1]]
    return list(zip(firsts, [*firsts[1:], len(labels)][: len(firsts)], strict=True))
