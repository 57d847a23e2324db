"""One pass over a recording: its length, its voice activity, whether two voices sing, and its samples if they fit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from singer_verify.audio.activity import ActivityMeasures, ActivityMeter
from singer_verify.audio.channels import TwoVoiceDetector, choose_channel_mix
from singer_verify.audio.clip import AudioClip, read_blocks
from singer_verify.audio.content import ContentHasher
from singer_verify.audio.decoding import AudioBlock
from singer_verify.audio.loading import downmix_and_resample

MAX_IN_MEMORY_S = 120.0  # longer recordings are decoded again each time they are read


@dataclass(frozen=True)
class RecordingScan:
    """The result of one pass over a recording.

    Attributes:
        num_samples: number of samples at `sample_rate`.
        sample_rate: sample rate of the scanned samples, in Hz.
        activity: measures from which the voice activity is decided.
        has_two_voices: whether the two channels hold different voices, see `TwoVoiceDetector`.
        channel_remark: what had to be chosen to mix the channels, see `ChannelMix`.
        samples: (samples,), or None if the recording is too long to keep in memory.
        iter_blocks: function that yields the samples block by block at each call.
        content: identity of what it sounds like, see `audio.content`.
    """

    num_samples: int
    sample_rate: int
    activity: ActivityMeasures
    has_two_voices: bool
    channel_remark: str
    samples: Float[np.ndarray, " samples"] | None
    iter_blocks: Callable[[], Iterator[Float[np.ndarray, " samples"]]]
    content: int

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sample_rate


def scan_recording(recording: Path | AudioClip, sample_rate: int, min_bandwidth_hz: float = 0.0) -> RecordingScan:
    """Read a recording once, from beginning to end.

    Args:
        recording: a file or clip.
        sample_rate: sample rate to resample to, in Hz.
        min_bandwidth_hz: highest frequency the recording has to contain.

    Raises:
        UtteranceError: the recording cannot be used, see `load_audio`.
    """
    voice_detector, hasher, activity = TwoVoiceDetector(), ContentHasher(), ActivityMeter(sample_rate)

    mix, blocks = choose_channel_mix(lambda: read_blocks(recording))

    def compare_channels() -> Iterator[AudioBlock]:
        for block in hasher.watch(blocks, mix):
            voice_detector.update(block)
            yield block

    def iter_blocks() -> Iterator[Float[np.ndarray, " samples"]]:
        return downmix_and_resample(read_blocks(recording), mix, str(recording), sample_rate, min_bandwidth_hz)

    num_samples, buffered = 0, []
    for samples in downmix_and_resample(compare_channels(), mix, str(recording), sample_rate, min_bandwidth_hz):
        num_samples += len(samples)
        activity.update(samples)
        buffered.append(samples)
        if num_samples > MAX_IN_MEMORY_S * sample_rate:
            buffered.clear()
    fits_in_memory = num_samples <= MAX_IN_MEMORY_S * sample_rate
    whole = np.concatenate(buffered) if fits_in_memory else None
    channels = (voice_detector.has_two_voices, mix.remark)
    return RecordingScan(num_samples, sample_rate, activity.compute(), *channels, whole, iter_blocks, hasher.compute())
