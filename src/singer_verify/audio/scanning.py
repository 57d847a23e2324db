"""One pass over a recording: its length, its power over time, whether two voices sing, and its samples if they fit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from singer_verify.audio.clip import AudioClip, read_blocks
from singer_verify.audio.decoding import AudioBlock
from singer_verify.audio.loading import downmix_and_resample

MAX_IN_MEMORY_S = 120.0  # longer recordings are decoded again each time they are read
POWER_STEP_S = 0.01
COMPARISON_SEGMENT_S = 1.0
MIN_ACTIVE_POWER = 1e-6  # -60 dB relative to full scale
MIN_SOLO_LEVEL_DIFFERENCE_DB = 20.0  # a channel weaker than this contains only crosstalk
MAX_MICROPHONE_DELAY_S = 0.02  # between two microphones recording one singer
# Correlation at the best delay. Two RAVDESS singers, one per channel: 0.05 to 0.07; one singer with strong
# reverberation that differs between the channels: at least 0.22.
MIN_SAME_VOICE_CORRELATION = 0.15
MIN_SOLO_FRACTION = 0.2  # of the active segments, for each of two singers who take turns


@dataclass(frozen=True)
class RecordingScan:
    """The result of one pass over a recording.

    Attributes:
        num_samples: at `sample_rate`.
        sample_rate: of the scanned samples, in Hz.
        power: (steps,), mean square of the samples in steps of 10 ms.
        has_two_voices: whether the two channels hold different voices, see `TwoVoiceDetector`.
        samples: (samples,), or None if the recording is too long to keep in memory.
        iter_blocks: yields the samples block by block, each time it is called.
    """

    num_samples: int
    sample_rate: int
    power: Float[np.ndarray, " steps"]
    has_two_voices: bool
    samples: Float[np.ndarray, " samples"] | None
    iter_blocks: Callable[[], Iterator[Float[np.ndarray, " samples"]]]

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sample_rate

    @property
    def power_step_s(self) -> float:
        return compute_power_step_samples(self.sample_rate) / self.sample_rate


def scan_recording(recording: Path | AudioClip, sample_rate: int, min_bandwidth_hz: float = 0.0) -> RecordingScan:
    """Read a recording once, from beginning to end.

    Args:
        recording: a file or clip.
        sample_rate: to resample to, in Hz.
        min_bandwidth_hz: highest frequency the recording has to contain.

    Raises:
        UtteranceError: the recording cannot be used, see `load_audio`.
    """
    voice_detector, power = TwoVoiceDetector(), PowerMeter(sample_rate)

    def decode_and_compare_channels() -> Iterator[AudioBlock]:
        for block in read_blocks(recording):
            voice_detector.update(block)
            yield block

    def iter_blocks() -> Iterator[Float[np.ndarray, " samples"]]:
        return downmix_and_resample(read_blocks(recording), str(recording), sample_rate, min_bandwidth_hz)

    num_samples, buffered = 0, []
    for samples in downmix_and_resample(decode_and_compare_channels(), str(recording), sample_rate, min_bandwidth_hz):
        num_samples += len(samples)
        power.update(samples)
        buffered.append(samples)
        if num_samples > MAX_IN_MEMORY_S * sample_rate:
            buffered.clear()
    fits_in_memory = num_samples <= MAX_IN_MEMORY_S * sample_rate
    whole = np.concatenate(buffered) if fits_in_memory else None
    return RecordingScan(num_samples, sample_rate, power.compute(), voice_detector.has_two_voices, whole, iter_blocks)


class PowerMeter:
    """Streaming mean square of a signal in steps of 10 ms.

    Args:
        sample_rate: in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self.step_samples = compute_power_step_samples(sample_rate)
        self.remainder = np.zeros(0, np.float32)
        self.powers: list[np.ndarray] = []

    def update(self, samples: Float[np.ndarray, " samples"]) -> None:
        joined = np.concatenate([self.remainder, samples])
        whole = len(joined) // self.step_samples * self.step_samples
        self.powers.append(np.square(joined[:whole].reshape(-1, self.step_samples)).mean(axis=1))
        self.remainder = joined[whole:]

    def compute(self) -> Float[np.ndarray, " steps"]:
        last = [np.square(self.remainder).mean(keepdims=True)] if len(self.remainder) else []
        return np.concatenate([*self.powers, *last])


def compute_power_step_samples(sample_rate: int) -> int:
    """Return the length of a power step (10 ms) in samples."""
    return max(round(POWER_STEP_S * sample_rate), 1)


class TwoVoiceDetector:
    """Streaming test of whether the two channels of a stereo recording hold different voices.

    They do if both channels are active at once and, in most segments of one second, uncorrelated at every delay up to
    20 ms; or if each is active alone in at least a fifth of the segments. One singer recorded by two microphones, or
    with reverberation, gives correlated channels. So do two singers who are each audible in the other's channel: they
    go undetected.
    """

    def __init__(self) -> None:
        self.num_solo_segments = np.zeros(2, int)
        self.correlations: list[float] = []

    def update(self, block: AudioBlock) -> None:
        if block.samples.shape[1] != 2:
            return
        length = min(round(COMPARISON_SEGMENT_S * block.sample_rate), len(block.samples))
        for first in range(0, len(block.samples) - length + 1, max(length, 1)):
            self._update_from_segment(block.samples[first : first + length].astype(np.float64), block.sample_rate)

    @property
    def has_two_voices(self) -> bool:
        num_segments = len(self.correlations) + int(self.num_solo_segments.sum())
        take_turns = num_segments > 0 and bool((self.num_solo_segments >= MIN_SOLO_FRACTION * num_segments).all())
        return take_turns or (
            bool(self.correlations) and float(np.median(self.correlations)) < MIN_SAME_VOICE_CORRELATION
        )

    def _update_from_segment(self, segment: Float[np.ndarray, "samples 2"], sample_rate: int) -> None:
        segment = segment - segment.mean(axis=0)
        power = np.square(segment).mean(axis=0)
        if power.max() < MIN_ACTIVE_POWER:
            return
        if power.min() < power.max() * 10.0 ** (-MIN_SOLO_LEVEL_DIFFERENCE_DB / 10.0):
            self.num_solo_segments[power.argmax()] += 1
        else:
            self.correlations.append(compute_max_correlation(segment, round(MAX_MICROPHONE_DELAY_S * sample_rate)))


def compute_max_correlation(segment: Float[np.ndarray, "samples 2"], max_delay_samples: int) -> float:
    """Return the largest magnitude of the correlation of two channels over all delays up to a maximum.

    Returns early with the correlation at zero delay if that is already high enough for the same voice.

    Args:
        segment: (samples, 2), zero mean.
        max_delay_samples: in either direction.
    """
    left, right = segment.T
    norm = float(np.sqrt(np.square(left).sum() * np.square(right).sum()))
    zero_lag_correlation = float(abs(left @ right)) / norm
    if zero_lag_correlation >= MIN_SAME_VOICE_CORRELATION:
        return zero_lag_correlation
    length = 1 << (len(left) + max_delay_samples).bit_length()
    product = np.fft.rfft(left, length) * np.fft.rfft(right, length).conj()
    correlation = np.abs(np.fft.irfft(product, length))
    return float(max(correlation[: max_delay_samples + 1].max(), correlation[-max_delay_samples:].max())) / norm
