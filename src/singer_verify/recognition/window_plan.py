"""Windows of a recording: where they lie, in frames."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from singer_verify.data.windows import window_starts
from singer_verify.errors import SingerVerifyError

Frames = Float[torch.Tensor, "frames bins"]


@dataclass(frozen=True)
class WindowPlan:
    """How long windows are and how far apart.

    Attributes:
        num_frames: length of a window.
        hop_frames: from window to window; None spreads them evenly with an overlap of half or a little more, as
            validation does.
    """

    num_frames: int
    hop_frames: int | None = None

    def starts(self, num_frames: int) -> Int[np.ndarray, " windows"]:
        """First frame of each window of a recording; a recording no longer than a window is one window."""
        if self.hop_frames is None or num_frames <= self.num_frames:
            return window_starts(num_frames, self.num_frames)
        last = num_frames - self.num_frames
        regular = np.arange(0, last + 1, self.hop_frames)
        return regular if regular[-1] == last else np.append(regular, last)

    def length(self, num_frames: int) -> int:
        """Of the windows of a recording."""
        return min(self.num_frames, num_frames)


def plan_in_seconds(window_s: float | None, hop_s: float | None, window_frames: int, hop_ms: float) -> WindowPlan:
    """Windows of a duration; what is None is as the model has it.

    Args:
        window_s: length of a window.
        hop_s: from window to window.
        window_frames: that the model was validated with.
        hop_ms: from frame to frame.

    Raises:
        SingerVerifyError: not above 0, or windows that would leave gaps.
    """
    for name, value in (("window_s", window_s), ("hop_s", hop_s)):
        if value is not None and not 0.0 < value < float("inf"):
            raise SingerVerifyError(f"{name}={value}: expected seconds above 0.")
    length = window_frames if window_s is None else max(round(1000 * window_s / hop_ms), 1)
    hop = None if hop_s is None else max(round(1000 * hop_s / hop_ms), 1)
    if hop is not None and hop > length:
        raise SingerVerifyError(
            f"hop_s={hop_s:g}: would leave gaps between windows of {length * hop_ms / 1000:g} s; expected at most that."
        )
    return WindowPlan(length, hop)


def windows_of_pieces(pieces: Iterable[Frames], starts: Int[np.ndarray, " windows"], length: int) -> Iterator[Frames]:
    """The frames of each window in turn; nothing before it is held.

    Args:
        pieces: the frames of a recording, one piece after another.
        starts: first frame of each window, rising.
        length: of every window.
    """
    held: Frames | None = None
    first = number = 0
    for piece in pieces:
        held = piece if held is None else torch.cat([held, piece])
        while number < len(starts) and starts[number] + length <= first + len(held):
            begin = int(starts[number]) - first
            yield held[begin : begin + length]
            number += 1
        if number < len(starts):
            dropped = min(max(int(starts[number]) - first, 0), len(held))
            held, first = held[dropped:], first + dropped
