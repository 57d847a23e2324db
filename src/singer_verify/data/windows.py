"""Evaluation windows: how whole utterances of any length are cut up to be embedded."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from singer_verify.errors import SingerVerifyError, require_at_least, require_between

MAX_WINDOWS_PER_BATCH = 64
MAX_FRAMES_PER_BATCH = 20_000  # 64 windows of 3.1 s: bounds what the maps of a convolutional encoder take
MAX_BLOCK_UTTERANCES, MAX_BLOCK_FRAMES = 512, 1 << 20


@dataclass(frozen=True)
class WindowGroup:
    """Windows of one length that are embedded together.

    Attributes:
        utterances: (windows,), the utterance of each window.
        starts: (windows,), first frame of each window within its utterance.
        num_frames: length of every window of the group.
    """

    utterances: Int[np.ndarray, " windows"]
    starts: Int[np.ndarray, " windows"]
    num_frames: int


def resolve_crop_lengths(
    num_frames: int, window_frames: int | None, crop_seconds: float | None, hop_ms: float
) -> tuple[int, int]:
    """Return the lengths of a training crop and of an evaluation window, in frames.

    Args:
        num_frames: length of a crop, used where no duration is given.
        window_frames: length of a window; None, or the length of a crop, makes it as long as the crop.
        crop_seconds: duration of a crop, rounded to the nearest number of frames.
        hop_ms: time from frame to frame.
    """
    if window_frames is not None:
        require_at_least(1, **{"data.window_frames": window_frames})
    if crop_seconds is None:
        return num_frames, num_frames if window_frames is None else window_frames
    require_between(0.001, 3600.0, **{"data.crop_seconds": crop_seconds})
    crop_frames = max(round(1000.0 * crop_seconds / hop_ms), 1)
    return crop_frames, crop_frames if window_frames in (None, num_frames) else int(window_frames)


def require_crop_range(min_frames: int, num_frames: int, on_the_fly: bool) -> None:
    """Check that crops can have lengths from `min_frames` to `num_frames`.

    Raises:
        SingerVerifyError: the range is empty, or the frames are computed on the fly, for crops of one length.
    """
    require_at_least(1, **{"data.min_frames": min_frames})
    if min_frames > num_frames:
        raise SingerVerifyError(
            f"data.min_frames={min_frames}: expected at most {num_frames}, the length of the longest crop."
        )
    if on_the_fly:
        raise SingerVerifyError(
            "data.min_frames: frames that are computed on the fly are those of crops of one length; leave it out, or "
            "set data.on_the_fly=false."
        )


def compute_window_starts(num_frames: int, window_frames: int) -> Int[np.ndarray, " windows"]:
    """Return the starts of windows that overlap by half or a little more, spread evenly over all frames.

    An utterance no longer than a window is one window of its own length.
    """
    if num_frames <= window_frames:
        return np.zeros(1, np.int64)
    hop = max(window_frames // 2, 1)
    count = 1 + -(-(num_frames - window_frames) // hop)
    return np.linspace(0, num_frames - window_frames, count).round().astype(np.int64)


def build_window_groups(
    num_frames: Int[np.ndarray, " utterances"],
    window_frames: int,
    windows_per_group: int = MAX_WINDOWS_PER_BATCH,
) -> list[WindowGroup]:
    """Cut utterances into windows, gathered by length so that none is ever padded.

    Groups never reach beyond a block of utterances, see `is_block_full`.

    Args:
        num_frames: length of each utterance in frames.
        window_frames: length of a window.
        windows_per_group: largest number of windows embedded at once.
    """
    lengths = num_frames.tolist()
    groups, first = [], 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or is_block_full(lengths[first:end]):
            groups += _build_block_groups(num_frames[first:end], window_frames, windows_per_group, first)
            first = end
    return groups


def count_windows_per_batch(window_frames: int) -> int:
    """Count the windows of a length that are embedded at once: fewer of long ones, so that memory stays bounded."""
    return max(1, min(MAX_WINDOWS_PER_BATCH, MAX_FRAMES_PER_BATCH // window_frames))


def is_block_full(num_frames: list[int]) -> bool:
    """Return whether utterances of these lengths make up a block; the next one belongs to another.

    Blocks bound what an evaluation holds in memory. What shares a batch must not depend on whether all frames are at
    hand, as in a store, or come block by block, from files: batches decide rounding.
    """
    return len(num_frames) >= MAX_BLOCK_UTTERANCES or sum(num_frames) >= MAX_BLOCK_FRAMES


def _build_block_groups(
    num_frames: Int[np.ndarray, " utterances"], window_frames: int, windows_per_group: int, first_utterance: int
) -> list[WindowGroup]:
    starts = [compute_window_starts(int(length), window_frames) for length in num_frames]
    utterances = np.repeat(np.arange(len(starts)), [len(window_starts) for window_starts in starts])
    flat_starts = np.concatenate(starts)
    lengths = np.minimum(num_frames, window_frames)[utterances]
    groups = []
    for length in np.unique(lengths):
        members = np.flatnonzero(lengths == length)
        most = min(windows_per_group, count_windows_per_batch(int(length)))
        for first in range(0, len(members), most):
            chosen = members[first : first + most]
            groups.append(WindowGroup(first_utterance + utterances[chosen], flat_starts[chosen], int(length)))
    return groups
