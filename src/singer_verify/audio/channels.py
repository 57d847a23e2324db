"""Whether the two channels of a recording hold two voices, and not one voice heard from two places."""

import numpy as np
from jaxtyping import Float

from singer_verify.audio.decoding import Block

STRETCH_S = 1.0
ACTIVE_POWER = 1e-6  # -60 dB of full scale
APART_DB = 20.0  # a channel that is so much weaker than the other holds at most what spills over
LONGEST_DELAY_S = 0.02  # between two microphones before one singer
# Correlation at the best delay. Two singers of RAVDESS in a channel each: 0.05 to 0.07; one, with strong reverberation
# that differs between the channels: 0.22 and more.
ALIKE = 0.15
LEAST_SHARE = 0.2  # of the stretches with sound, for each channel, where singers take turns


class ChannelComparison:
    """Hears the blocks of a recording, and tells whether its two channels differ as voices do.

    They do where both channels sound at once and, in most stretches of a second, do not correlate at any delay up to
    20 ms; or where each is heard alone in a fifth of the stretches or more. One singer before two microphones, or with
    reverberation, correlates; so do two singers of whom each is heard in the other's channel too, who go unnoticed.
    """

    def __init__(self) -> None:
        self.num_alone = np.zeros(2, int)
        self.correlations: list[float] = []

    def hear(self, block: Block) -> None:
        if block.channels.shape[1] != 2:
            return
        length = min(round(STRETCH_S * block.sample_rate), len(block.channels))
        for first in range(0, len(block.channels) - length + 1, max(length, 1)):
            self._hear_stretch(block.channels[first : first + length].astype(np.float64), block.sample_rate)

    @property
    def differ(self) -> bool:
        num_stretches = len(self.correlations) + int(self.num_alone.sum())
        take_turns = num_stretches > 0 and bool((self.num_alone >= LEAST_SHARE * num_stretches).all())
        return take_turns or (bool(self.correlations) and float(np.median(self.correlations)) < ALIKE)

    def _hear_stretch(self, stretch: Float[np.ndarray, "samples 2"], sample_rate: int) -> None:
        stretch = stretch - stretch.mean(axis=0)
        power = np.square(stretch).mean(axis=0)
        if power.max() < ACTIVE_POWER:
            return
        if power.min() < power.max() * 10.0 ** (-APART_DB / 10.0):
            self.num_alone[power.argmax()] += 1
        else:
            self.correlations.append(best_correlation(stretch, round(LONGEST_DELAY_S * sample_rate)))


def best_correlation(stretch: Float[np.ndarray, "samples 2"], longest_delay: int) -> float:
    """Magnitude of the correlation of two channels at the delay, in samples, where it is largest.

    Where they correlate without delay already, no other is tried.
    """
    left, right = stretch.T
    norm = float(np.sqrt(np.square(left).sum() * np.square(right).sum()))
    at_once = float(abs(left @ right)) / norm
    if at_once >= ALIKE:
        return at_once
    length = 1 << (len(left) + longest_delay).bit_length()
    product = np.fft.rfft(left, length) * np.fft.rfft(right, length).conj()
    correlation = np.abs(np.fft.irfft(product, length))
    return float(max(correlation[: longest_delay + 1].max(), correlation[-longest_delay:].max())) / norm
