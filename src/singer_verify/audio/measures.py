"""Measures of a recording that say nothing about who sings: its duration, level, noise floor and bandwidth.

Where they differ between singers, a model can tell the singers apart without a voice.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float

from singer_verify.audio.activity import DEFAULT_ACTIVITY_DB
from singer_verify.audio.voicing import TINY, compute_step_samples

MIN_LEVEL_DB = -100.0  # below the rounding noise of 16 bits: digital silence, too, has a level
NOISE_PERCENTILE = 5.0  # of the steps: the quietest twentieth, as pauses seldom take more of a clip of singing
SPECTRUM_S, SPECTRUM_CHUNK_WINDOWS = 0.032, 4000
# Relative to the strongest band. Sung vowels fall 50 to 60 dB up to 8 kHz, and what a codec or a telephone cuts off is
# 80 dB down and more.
BANDWIDTH_DB = -70.0


@dataclass(frozen=True)
class RecordingMeasures:
    """Measures of a recording as a recipe is given it: mixed to one channel, at the recipe's sample rate.

    Attributes:
        duration_s: duration in seconds.
        level_db: root mean square of the loud steps of 10 ms, in dB relative to full scale.
        noise_db: level of the quietest twentieth of the steps, at least -100.
        bandwidth_hz: the highest frequency whose long-term power is at most 70 dB below that of the strongest.
    """

    duration_s: float
    level_db: float
    noise_db: float
    bandwidth_hz: float

    @property
    def snr_db(self) -> float:
        """Distance of the level from the noise floor, in dB."""
        return self.level_db - self.noise_db


def measure_recording(samples: Float[np.ndarray, " samples"], sample_rate: int) -> RecordingMeasures:
    """Measure a recording.

    Args:
        samples: its samples, at least one.
        sample_rate: sample rate in Hz.
    """
    power = compute_step_power(samples, compute_step_samples(sample_rate))
    is_loud = find_loud_steps(power)
    return RecordingMeasures(
        len(samples) / sample_rate,
        _compute_level(float(power[is_loud].mean()) if is_loud.any() else 0.0),
        _compute_level(float(np.percentile(power, NOISE_PERCENTILE))),
        _measure_bandwidth(samples, sample_rate),
    )


def find_loud_steps(
    power: Float[np.ndarray, " steps"], activity_db: float = DEFAULT_ACTIVITY_DB
) -> Bool[np.ndarray, " steps"]:
    """Find the steps at most so far below the level of the loud ones, whether they are voiced or not.

    That level is the power above which steps hold half of the energy, which pauses of any length leave as it is.

    Args:
        power: power of each step.
        activity_db: greatest distance in dB.
    """
    loudest_first = np.sort(power)[::-1]
    energy = np.cumsum(loudest_first, dtype=np.float64)
    reference = loudest_first[np.searchsorted(energy, energy[-1] / 2)]
    found: np.ndarray = power > max(reference * 10.0 ** (-activity_db / 10.0), TINY)
    return found


def compute_step_power(samples: Float[np.ndarray, " samples"], step_samples: int) -> Float[np.ndarray, " steps"]:
    """Compute the mean square of each step about its mean; a rest shorter than a step is left out.

    Args:
        samples: samples of a recording.
        step_samples: length of a step.
    """
    step_samples = min(step_samples, len(samples))
    steps = samples[: len(samples) // step_samples * step_samples].reshape(-1, step_samples)
    power: np.ndarray = np.var(steps, axis=1)
    return power


def _compute_level(power: float) -> float:
    return max(float(10.0 * np.log10(max(power, TINY))), MIN_LEVEL_DB)


def _measure_bandwidth(samples: Float[np.ndarray, " samples"], sample_rate: int) -> float:
    """Find the upper end of the long-term spectrum, in Hz, from Hann windows of 32 ms side by side."""
    length = min(max(round(SPECTRUM_S * sample_rate), 2), len(samples))
    window = np.hanning(length + 1)[:-1].astype(np.float32)
    windows = samples[: len(samples) // length * length].reshape(-1, length)
    total = np.zeros(length // 2 + 1)
    for first in range(0, len(windows), SPECTRUM_CHUNK_WINDOWS):
        chunk = windows[first : first + SPECTRUM_CHUNK_WINDOWS]
        spectra = scipy.fft.rfft((chunk - chunk.mean(axis=1, keepdims=True)) * window, axis=1)
        total += (np.square(spectra.real) + np.square(spectra.imag)).sum(axis=0)
    reached = np.flatnonzero(total >= total.max() * 10.0 ** (BANDWIDTH_DB / 10.0))
    return float(reached[-1] * sample_rate / length)
