"""A recording heard through once: its length, its loudness, and its samples where they are few enough to keep."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from singer_verify.audio.clip import AudioClip, read_blocks
from singer_verify.audio.decoding import AudioBlock
from singer_verify.audio.loading import downmix_and_resample

MAX_IN_MEMORY_S = 120.0  # longer recordings are decoded again, block by block, whenever they are needed
POWER_STEP_S = 0.01


@dataclass(frozen=True)
class RecordingScan:
    """What is known of a recording.

    Attributes:
        num_samples: at the sample rate asked for.
        sample_rate: that was asked for, in Hz.
        power: (steps,), mean square of the samples of each hundredth of a second.
        has_two_voices: its channels differ as voices do, see `TwoVoiceDetector`.
        samples: all of them; None where the recording is too long to keep.
        blocks: the samples block by block, as often as it is called.
    """

    num_samples: int
    sample_rate: int
    power: Float[np.ndarray, " steps"]
    has_two_voices: bool
    samples: Float[np.ndarray, " samples"] | None
    blocks: Callable[[], Iterator[Float[np.ndarray, " samples"]]]

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate

    @property
    def power_step_s(self) -> float:
        return compute_power_step_samples(self.sample_rate) / self.sample_rate


def scan_recording(recording: Path | AudioClip, sample_rate: int, bandwidth_hz: float = 0.0) -> RecordingScan:
    """Hear a recording through.

    Raises:
        UtteranceError: it cannot be used, see `load_audio`.
    """
    channels, power = TwoVoiceDetector(), PowerMeter(sample_rate)

    def attended() -> Iterator[AudioBlock]:
        for block in read_blocks(recording):
            channels.update(block)
            yield block

    def blocks() -> Iterator[Float[np.ndarray, " samples"]]:
        return downmix_and_resample(read_blocks(recording), str(recording), sample_rate, bandwidth_hz)

    num_samples, kept = 0, []
    for samples in downmix_and_resample(attended(), str(recording), sample_rate, bandwidth_hz):
        num_samples += len(samples)
        power.update(samples)
        kept.append(samples)
        if num_samples > MAX_IN_MEMORY_S * sample_rate:
            kept.clear()
    is_kept = num_samples <= MAX_IN_MEMORY_S * sample_rate
    whole = np.concatenate(kept) if is_kept else None
    return RecordingScan(num_samples, sample_rate, power.steps(), channels.has_two_voices, whole, blocks)


class PowerMeter:
    """Mean square of the samples of each hundredth of a second, of blocks one after another.

    Args:
        sample_rate: in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self.length = compute_power_step_samples(sample_rate)
        self.remainder = np.zeros(0, np.float32)
        self.found: list[np.ndarray] = []

    def update(self, samples: Float[np.ndarray, " samples"]) -> None:
        joined = np.concatenate([self.remainder, samples])
        whole = len(joined) // self.length * self.length
        self.found.append(np.square(joined[:whole].reshape(-1, self.length)).mean(axis=1))
        self.remainder = joined[whole:]

    def steps(self) -> Float[np.ndarray, " steps"]:
        last = [np.square(self.remainder).mean(keepdims=True)] if len(self.remainder) else []
        return np.concatenate([*self.found, *last])


def compute_power_step_samples(sample_rate: int) -> int:
    """A hundredth of a second, in whole samples."""
    return max(round(POWER_STEP_S * sample_rate), 1)


COMPARISON_SEGMENT_S = 1.0
MIN_ACTIVE_POWER = 1e-6  # -60 dB of full scale
MIN_SOLO_LEVEL_DIFFERENCE_DB = 20.0  # a channel that is so much weaker than the other holds at most what spills over
MAX_MICROPHONE_DELAY_S = 0.02  # between two microphones before one singer
# Correlation at the best delay. Two singers of RAVDESS in a channel each: 0.05 to 0.07; one, with strong reverberation
# that differs between the channels: 0.22 and more.
MIN_SAME_VOICE_CORRELATION = 0.15
MIN_SOLO_FRACTION = 0.2  # of the stretches with sound, for each channel, where singers take turns


class TwoVoiceDetector:
    """Hears the blocks of a recording, and tells whether its two channels differ as voices do.

    They do where both channels sound at once and, in most stretches of a second, do not correlate at any delay up to
    20 ms; or where each is heard alone in a fifth of the stretches or more. One singer before two microphones, or with
    reverberation, correlates; so do two singers of whom each is heard in the other's channel too, who go unnoticed.
    """

    def __init__(self) -> None:
        self.num_solo_segments = np.zeros(2, int)
        self.correlations: list[float] = []

    def update(self, block: AudioBlock) -> None:
        if block.channels.shape[1] != 2:
            return
        length = min(round(COMPARISON_SEGMENT_S * block.sample_rate), len(block.channels))
        for first in range(0, len(block.channels) - length + 1, max(length, 1)):
            self._update_from_segment(block.channels[first : first + length].astype(np.float64), block.sample_rate)

    @property
    def has_two_voices(self) -> bool:
        num_stretches = len(self.correlations) + int(self.num_solo_segments.sum())
        take_turns = num_stretches > 0 and bool((self.num_solo_segments >= MIN_SOLO_FRACTION * num_stretches).all())
        return take_turns or (
            bool(self.correlations) and float(np.median(self.correlations)) < MIN_SAME_VOICE_CORRELATION
        )

    def _update_from_segment(self, stretch: Float[np.ndarray, "samples 2"], sample_rate: int) -> None:
        stretch = stretch - stretch.mean(axis=0)
        power = np.square(stretch).mean(axis=0)
        if power.max() < MIN_ACTIVE_POWER:
            return
        if power.min() < power.max() * 10.0 ** (-MIN_SOLO_LEVEL_DIFFERENCE_DB / 10.0):
            self.num_solo_segments[power.argmax()] += 1
        else:
            self.correlations.append(compute_max_correlation(stretch, round(MAX_MICROPHONE_DELAY_S * sample_rate)))


def compute_max_correlation(stretch: Float[np.ndarray, "samples 2"], longest_delay: int) -> float:
    """Magnitude of the correlation of two channels at the delay, in samples, where it is largest.

    Where they correlate without delay already, no other is tried.
    """
    left, right = stretch.T
    norm = float(np.sqrt(np.square(left).sum() * np.square(right).sum()))
    at_once = float(abs(left @ right)) / norm
    if at_once >= MIN_SAME_VOICE_CORRELATION:
        return at_once
    length = 1 << (len(left) + longest_delay).bit_length()
    product = np.fft.rfft(left, length) * np.fft.rfft(right, length).conj()
    correlation = np.abs(np.fft.irfft(product, length))
    return float(max(correlation[: longest_delay + 1].max(), correlation[-longest_delay:].max())) / norm
