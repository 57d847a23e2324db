"""Means, variances and extremes of frames, utterance by utterance and pooled."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Int

STATISTICS_CHUNK_FRAMES = 1 << 14  # read from the map at once: 65 MB in double precision at 512 bins


@dataclass(frozen=True)
class FrameStatistics:
    """Statistics of the frames of each utterance, in double precision.

    Attributes:
        num_frames: (utterances,).
        mean: (utterances, bins), over the utterance's frames.
        variance: (utterances, bins), mean squared distance from that mean.
        lowest: (utterances, bins).
        highest: (utterances, bins).
    """

    num_frames: Int[np.ndarray, " utterances"]
    mean: Float[np.ndarray, "utterances bins"]
    variance: Float[np.ndarray, "utterances bins"]
    lowest: Float[np.ndarray, "utterances bins"]
    highest: Float[np.ndarray, "utterances bins"]


_STATISTIC_FIELDS = tuple(field.name for field in fields(FrameStatistics))


def compute_frame_statistics(
    frames: Float[np.ndarray, "total bins"],
    offsets: Int[np.ndarray, " bounds"],
    chunk_frames: int = STATISTICS_CHUNK_FRAMES,
) -> FrameStatistics:
    """Compute the statistics of packed utterances in two passes over chunks of utterances.

    Args:
        frames: frames of all utterances, concatenated; may be memory-mapped.
        offsets: (utterances + 1,), start of each utterance; none is empty.
        chunk_frames: approximate number of frames in memory at once; at least one utterance.
    """
    parts = [
        _compute_chunk_statistics(frames, offsets[first : last + 1])
        for first, last in _split_into_chunks(offsets, chunk_frames)
    ]
    return FrameStatistics(np.diff(offsets), *(np.concatenate(part) for part in zip(*parts, strict=True)))


def pool_over_frames(statistics: FrameStatistics) -> tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """Compute mean and variance of each bin over all frames of all utterances."""
    weights = (statistics.num_frames / statistics.num_frames.sum())[:, None]
    mean = (weights * statistics.mean).sum(axis=0)
    variance = (weights * (statistics.variance + (statistics.mean - mean) ** 2)).sum(axis=0)
    return mean, variance


def merge_frame_statistics(parts: list[FrameStatistics]) -> FrameStatistics:
    """Merge the statistics of the parts of one utterance."""
    joined = FrameStatistics(*(np.concatenate([getattr(part, name) for part in parts]) for name in _STATISTIC_FIELDS))
    mean, variance = pool_over_frames(joined)
    count = joined.num_frames.sum(keepdims=True)
    return FrameStatistics(
        count, mean[None], variance[None], joined.lowest.min(0, keepdims=True), joined.highest.max(0, keepdims=True)
    )


def pool_over_bins(
    mean: Float[np.ndarray, "*rows bins"], variance: Float[np.ndarray, "*rows bins"]
) -> tuple[Float[np.ndarray, "*rows one"], Float[np.ndarray, "*rows one"]]:
    """Pool means and variances per bin into those of all values of a row."""
    pooled = mean.mean(axis=-1, keepdims=True)
    return pooled, (variance + (mean - pooled) ** 2).mean(axis=-1, keepdims=True)


def _split_into_chunks(offsets: Int[np.ndarray, " bounds"], chunk_frames: int) -> Iterator[tuple[int, int]]:
    """Yield the half-open range of utterances of each chunk."""
    first, num_utterances = 0, len(offsets) - 1
    while first < num_utterances:
        fitting = int(np.searchsorted(offsets, offsets[first] + chunk_frames, side="right")) - 1
        last = min(max(fitting, first + 1), num_utterances)
        yield first, last
        first = last


def _compute_chunk_statistics(
    frames: Float[np.ndarray, "total bins"], bounds: Int[np.ndarray, " bounds"]
) -> tuple[np.ndarray, ...]:
    values = frames[bounds[0] : bounds[-1]].astype(np.float64)
    starts, lengths = bounds[:-1] - bounds[0], np.diff(bounds)
    mean = np.add.reduceat(values, starts, axis=0) / lengths[:, None]
    lowest, highest = (reduce.reduceat(values, starts, axis=0) for reduce in (np.minimum, np.maximum))
    values -= np.repeat(mean, lengths, axis=0)
    variance = np.add.reduceat(np.square(values, out=values), starts, axis=0) / lengths[:, None]
    return mean, variance, lowest, highest
