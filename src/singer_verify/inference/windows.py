"""Windows of a recording: where they lie, and a recording as the embeddings of its windows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from singer_verify.audio.content import NO_CONTENT
from singer_verify.data.windows import compute_window_starts
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.averaging import average_embeddings
from singer_verify.inference.frames import RecordingInfo

Frames = Float[torch.Tensor, "frames bins"]
MIN_RELIABLE_S = 3.0  # recordings of this length are not called short, however long the model's window
SILENCE_DB = 40.0  # below a recording's loud level nobody sings
LOUD_QUANTILE = 0.95  # quantile of power that is a recording's loud level


@dataclass(frozen=True)
class WindowPlan:
    """Length of windows and distance between them.

    Attributes:
        num_frames: length of a window.
        hop_frames: frames from window to window; None spreads them evenly with an overlap of half or a little more, as
            validation does.
    """

    num_frames: int
    hop_frames: int | None = None

    def starts(self, num_frames: int) -> Int[np.ndarray, " windows"]:
        """Return the first frame of each window; a recording no longer than a window is one window."""
        if self.hop_frames is None or num_frames <= self.num_frames:
            return compute_window_starts(num_frames, self.num_frames)
        last = num_frames - self.num_frames
        regular = np.arange(0, last + 1, self.hop_frames)
        return regular if regular[-1] == last else np.append(regular, last)

    def length(self, num_frames: int) -> int:
        """Return the length of the windows of a recording."""
        return min(self.num_frames, num_frames)


def build_window_plan(window_s: float | None, hop_s: float | None, window_frames: int, hop_ms: float) -> WindowPlan:
    """Build a plan from durations; None means as the model was validated.

    Args:
        window_s: length of a window.
        hop_s: time from window to window.
        window_frames: length of the windows that the model was validated with.
        hop_ms: time from frame to frame.

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


def iterate_windows(pieces: Iterable[Frames], starts: Int[np.ndarray, " windows"], length: int) -> Iterator[Frames]:
    """Yield the frames of each window, holding no earlier frames in memory.

    Args:
        pieces: the frames of a recording, one piece after another.
        starts: first frame of each window, rising.
        length: length of every window.
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


@dataclass(frozen=True)
class RecordingEmbedding:
    """Embeddings of the windows of a recording.

    Attributes:
        name: path or name of the recording.
        windows: (windows, embedding), rows of unit length, in order of time.
        starts_s: (windows,), when each window begins.
        ends_s: (windows,), when it ends.
        seconds: duration of the recording.
        power: (steps,), mean square of its samples in each of equal steps of time; None for precomputed frames.
        power_step_s: length of a step.
        has_two_voices: whether its two channels hold different voices.
        model_window_s: length of the windows that the model was validated with.
        content: identity of what it sounds like, see `audio.content`.
        channel_remark: what had to be chosen to mix its channels, see `ChannelMix`.
    """

    name: str
    windows: Float[np.ndarray, "windows embedding"]
    starts_s: Float[np.ndarray, " windows"]
    ends_s: Float[np.ndarray, " windows"]
    seconds: float
    power: Float[np.ndarray, " steps"] | None
    power_step_s: float
    has_two_voices: bool
    model_window_s: float
    content: int = NO_CONTENT
    channel_remark: str = ""

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on what makes the embeddings doubtful."""
        enough_s = min(self.model_window_s, MIN_RELIABLE_S)
        short = f"{self.name}: lasts {self.seconds:.1f} s, less than {enough_s:.1f} s; its results are uncertain."
        return ((short,) if self.seconds < enough_s else ()) + self.channel_warnings

    @property
    def channel_warnings(self) -> tuple[str, ...]:
        two_voices = "its two channels hold different voices; their mean was taken: give one channel alone"
        remarks = (two_voices if self.has_two_voices else "", self.channel_remark)
        return tuple(f"{self.name}: {remark}." for remark in remarks if remark)

    @property
    def is_silent(self) -> Bool[np.ndarray, " windows"]:
        """Mask of the windows in which no one sings.

        Their power is at least 40 dB below the 95th percentile of the recording's power in steps of 10 ms. No window
        is silent where the samples are unknown.
        """
        if self.power is None:
            return np.zeros(len(self.windows), bool)
        sums = np.concatenate([[0.0], np.cumsum(self.power, dtype=np.float64)])
        first, end = (
            (times_s / self.power_step_s).round().astype(np.int64) for times_s in (self.starts_s, self.ends_s)
        )
        first = np.minimum(first, len(self.power) - 1)
        end = np.clip(end, first + 1, len(self.power))
        loud = np.quantile(self.power, LOUD_QUANTILE)
        return (sums[end] - sums[first]) / (end - first) <= loud * 10.0 ** (-SILENCE_DB / 10.0)

    @property
    def embedding(self) -> Float[np.ndarray, " embedding"]:
        """Mean over the windows, scaled to unit length."""
        return average_embeddings(self.windows)


def build_recording_embedding(
    facts: RecordingInfo,
    windows: Float[np.ndarray, "windows embedding"],
    plan: WindowPlan,
    hop_ms: float,
    model_window_s: float,
) -> RecordingEmbedding:
    """Combine a recording's properties with the embeddings of its windows.

    Args:
        facts: properties of the recording.
        windows: (windows, embedding), in order.
        plan: positions of the windows.
        hop_ms: time from frame to frame.
        model_window_s: see `RecordingEmbedding`.
    """
    starts, length = plan.starts(facts.num_frames), plan.length(facts.num_frames)
    times_s = facts.times_s if facts.times_s is not None else np.arange(facts.num_frames) * hop_ms / 1000.0
    starts_s = np.minimum(times_s[starts], facts.seconds)
    ends_s = np.minimum(times_s[starts + length - 1] + hop_ms / 1000.0, facts.seconds)
    sound = (facts.seconds, facts.power, facts.power_step_s, facts.has_two_voices)
    found = (facts.content, facts.channel_remark)
    return RecordingEmbedding(facts.name, windows, starts_s, ends_s, *sound, model_window_s, *found)
