"""Detection of stereo recordings whose channels hold different voices."""

import numpy as np
from jaxtyping import Float

from singer_verify.audio.decoding import AudioBlock

COMPARISON_SEGMENT_S = 1.0
MIN_ACTIVE_POWER = 1e-6  # -60 dB relative to full scale
MIN_SOLO_LEVEL_DIFFERENCE_DB = 20.0  # a channel weaker than this contains only crosstalk
MAX_MICROPHONE_DELAY_S = 0.02  # between two microphones recording one singer
# Correlation at the best delay. Two RAVDESS singers, one per channel: 0.05 to 0.07; one singer with strong
# reverberation that differs between the channels: at least 0.22.
MIN_SAME_VOICE_CORRELATION = 0.15
MIN_SOLO_FRACTION = 0.2  # of the active segments, for each of two singers who take turns


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
        max_delay_samples: largest delay in either direction, in samples.
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
