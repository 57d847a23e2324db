"""Windows of a recording: where they lie, and a recording as the embeddings of its windows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from singer_verify.audio.activity import VoiceActivity
from singer_verify.audio.content import NO_CONTENT
from singer_verify.data.windows import compute_window_starts
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.averaging import average_embeddings
from singer_verify.inference.frames import RecordingInfo

Frames = Float[torch.Tensor, "frames bins"]
MIN_RELIABLE_S = 3.0  # recordings of this length are not called short, however long the model's window
MIN_VOICE_SHARE = 0.1  # of a window in which someone sings


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
        activity: where it holds a voice; None for precomputed frames.
        without_pauses: whether the windows are those of the voice alone.
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
    activity: VoiceActivity | None
    without_pauses: bool
    has_two_voices: bool
    model_window_s: float
    content: int = NO_CONTENT
    channel_remark: str = ""

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on what makes the embeddings doubtful."""
        enough_s = min(self.model_window_s, MIN_RELIABLE_S)
        held = f"holds {self.voice_s:.1f} s of voice" if self.without_pauses else f"lasts {self.seconds:.1f} s"
        short = f"{self.name}: {held}, less than {enough_s:.1f} s; its results are uncertain."
        found_s = self.voice_s if self.without_pauses else self.seconds
        return ((short,) if found_s < enough_s else ()) + self.channel_warnings

    @property
    def channel_warnings(self) -> tuple[str, ...]:
        two_voices = "its two channels hold different voices; their mean was taken: give one channel alone"
        remarks = (two_voices if self.has_two_voices else "", self.channel_remark)
        return tuple(f"{self.name}: {remark}." for remark in remarks if remark)

    @property
    def voice_s(self) -> float:
        """Duration of its voice, in seconds; of everything where that is unknown."""
        return self.seconds if self.activity is None else self.activity.voice_s

    @property
    def is_silent(self) -> Bool[np.ndarray, " windows"]:
        """Mask of the windows in which no one sings: less than a tenth of their time holds a voice.

        No window is silent where windows are those of the voice alone, or where the samples are unknown.
        """
        if self.activity is None or self.without_pauses:
            return np.zeros(len(self.windows), bool)
        return self.activity.compute_voice_share(self.starts_s, self.ends_s) < MIN_VOICE_SHARE

    @property
    def pauses_s(self) -> Float[np.ndarray, "pauses 2"]:
        """Start and end of the pauses that no window holds, in seconds."""
        if self.activity is None or not self.without_pauses:
            return np.zeros((0, 2))
        return self.activity.pauses_s

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
    recording = (facts.seconds, facts.activity, facts.without_pauses, facts.has_two_voices)
    found = (facts.content, facts.channel_remark)
    return RecordingEmbedding(facts.name, windows, starts_s, ends_s, *recording, model_window_s, *found)
