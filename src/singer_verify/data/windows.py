"""Evaluation windows: how whole utterances of any length are cut up to be embedded, and put together again."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from singer_verify.errors import require_at_least, require_between


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
    """Frames of a crop and of a window; where a duration is given, as many as come nearest to it.

    Args:
        num_frames: of a crop, if no duration is given.
        window_frames: of a window; None, or as many as of a crop, makes it as long as the crop.
        crop_seconds: of a crop.
        hop_ms: from frame to frame.
    """
    if window_frames is not None:
        require_at_least(1, **{"data.window_frames": window_frames})
    if crop_seconds is None:
        return num_frames, num_frames if window_frames is None else window_frames
    require_between(0.001, 3600.0, **{"data.crop_seconds": crop_seconds})
    of_crop = max(round(1000.0 * crop_seconds / hop_ms), 1)
    return of_crop, of_crop if window_frames in (None, num_frames) else int(window_frames)


def compute_window_starts(num_frames: int, window_frames: int) -> Int[np.ndarray, " windows"]:
    """Starts of windows that overlap by half or a little more, spread evenly from the first frame to the last.

    An utterance no longer than a window is one window of its own length.
    """
    if num_frames <= window_frames:
        return np.zeros(1, np.int64)
    hop = max(window_frames // 2, 1)
    count = 1 + -(-(num_frames - window_frames) // hop)
    return np.linspace(0, num_frames - window_frames, count).round().astype(np.int64)


def build_window_groups(
    num_frames_of: Int[np.ndarray, " utterances"], window_frames: int, windows_per_group: int
) -> list[WindowGroup]:
    """Cut utterances into windows, gathered by length so that none is ever padded.

    Args:
        num_frames_of: length of each utterance in frames.
        window_frames: length of a window.
        windows_per_group: at most so many windows are embedded at once.
    """
    starts = [compute_window_starts(int(length), window_frames) for length in num_frames_of]
    utterances = np.repeat(np.arange(len(starts)), [len(each) for each in starts])
    flat_starts = np.concatenate(starts) if starts else np.zeros(0, np.int64)
    lengths = np.minimum(num_frames_of, window_frames)[utterances]
    groups = []
    for length in np.unique(lengths):
        members = np.flatnonzero(lengths == length)
        for first in range(0, len(members), windows_per_group):
            chosen = members[first : first + windows_per_group]
            groups.append(WindowGroup(utterances[chosen], flat_starts[chosen], int(length)))
    return groups


def average_window_embeddings(
    window_embeddings: Float[Tensor, "windows embedding"], utterances: Int[Tensor, " windows"], num_utterances: int
) -> Float[Tensor, "utterances embedding"]:
    """Average the embeddings of each utterance's windows, and bring the average to unit length."""
    sums = window_embeddings.new_zeros(num_utterances, window_embeddings.shape[1])
    return normalize(sums.index_add_(0, utterances, window_embeddings), dim=1)
