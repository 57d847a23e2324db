"""Measures of a recording in steps of 10 ms: its level, and whether a voice of definite pitch sounds.

A step is voiced if its spectrum is periodic as a voice's is: not a pure tone, and not the unchanging spectrum of mains
hum or of a test signal.
"""

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float
from scipy.ndimage import binary_dilation

STEP_S = 0.01
CONTEXT_STEPS = 100  # to either side of a chunk; more than the measures of a step look at
ANALYSIS_S = 0.064  # two periods at 32 Hz; harmonics of 65 Hz are apart
LEVEL_S = 0.032
LEVEL_BAND_HZ = (80.0, 5000.0)
VOICING_BAND_HZ = (65.0, 4000.0)
EMPHASIS_HZ = 500.0  # below it the spectrum is attenuated, by 6 dB per octave, so that rumble is not periodic
F0_RANGE_HZ = (65.0, 1100.0)
# Of the steps of singing that are loud enough, 95 % reach 0.6; white and pink noise reach 0.4, brown noise 0.5.
MIN_VOICING = 0.6
# Share of the power that lies more than 6 % and 120 Hz beside the strongest partial: in singing at least 0.0007, also
# of sopranos; in pure tones and sweeps of them less than 0.0001.
MIN_POWER_BESIDE_TONE = 5e-4
TONE_WIDTH_HZ, TONE_WIDTH = 120.0, 0.06
# Relative change of the spectrum, averaged over 0.2 s, to 0.25 and 0.5 s later (and earlier): at least 0.06 for the
# steadiest notes of VocalSet; 0.03 for hum with noise 20 dB below, 0 for a synthetic tone.
MAX_STEADY_CHANGE = 0.04
STEADY_AVERAGE_STEPS, STEADY_DISTANCES_STEPS = 20, (25, 50)
TONE_EDGE_STEPS = 4  # where a tone begins or ends within the window, its spectrum is not pure
TINY = 1e-20


def compute_step_samples(sample_rate: int) -> int:
    """Return the length of a step (10 ms) in samples."""
    return max(round(STEP_S * sample_rate), 1)


def compute_band_power(
    samples: Float[np.ndarray, " samples"], sample_rate: int, first_step: int, num_steps: int
) -> Float[np.ndarray, " steps"]:
    """Compute the mean power between 80 Hz and 5 kHz in a Hann window of 32 ms around each step.

    Args:
        samples: samples from step 0 on.
        sample_rate: sample rate in Hz.
        first_step: number of the first step to measure.
        num_steps: number of steps to measure.
    """
    length = round(LEVEL_S * sample_rate)
    window, spectra, bin_hz = _compute_spectra(samples, sample_rate, length, length, first_step, num_steps)
    first, end = round(LEVEL_BAND_HZ[0] / bin_hz), round(LEVEL_BAND_HZ[1] / bin_hz)
    power: np.ndarray = 2.0 * spectra[:, first:end].sum(axis=1) / (length * np.square(window).sum())
    return power


def detect_voiced_steps(
    samples: Float[np.ndarray, " samples"], sample_rate: int, first_step: int, num_steps: int
) -> Bool[np.ndarray, " steps"]:
    """Detect the steps in which a voice of definite pitch sounds.

    The maximum of the normalised autocorrelation between the lags of 1100 and 65 Hz reaches 0.6 (Boersma 1993,
    "Accurate short-term analysis of the fundamental frequency", equations 9 to 11), the spectrum is not that of a pure
    tone, and it changes within half a second, as no spectrum of hum or of a test signal does.

    Args:
        samples: samples from step 0 on, with `CONTEXT_STEPS` before and after the steps to measure.
        sample_rate: sample rate in Hz.
        first_step: number of the first step to measure.
        num_steps: number of steps to measure.
    """
    margin = max(STEADY_DISTANCES_STEPS) + STEADY_AVERAGE_STEPS
    length = round(ANALYSIS_S * sample_rate)
    # so long that the correlation at the longest lag does not wrap around
    num_fft = scipy.fft.next_fast_len(length + round(sample_rate / F0_RANGE_HZ[0]), real=True)
    window, spectra, bin_hz = _compute_spectra(
        samples, sample_rate, length, num_fft, first_step - margin, num_steps + 2 * margin
    )
    own = slice(margin, margin + num_steps)
    is_tone = _compute_power_beside_tone(spectra[own], bin_hz) < MIN_POWER_BESIDE_TONE
    frequencies_hz = bin_hz * np.arange(min(1 + round(VOICING_BAND_HZ[1] / bin_hz), spectra.shape[1]))
    spectra = spectra[:, : len(frequencies_hz)]
    spectra[:, frequencies_hz < VOICING_BAND_HZ[0]] = 0.0
    emphasised = spectra[own] * np.minimum(frequencies_hz / EMPHASIS_HZ, 1.0).astype(np.float32) ** 2
    is_periodic = _compute_voicing(emphasised, window, sample_rate, num_fft) >= MIN_VOICING
    is_steady = _compute_steady_change(np.sqrt(spectra)) < MAX_STEADY_CHANGE
    near_tone = binary_dilation(is_tone, np.ones(2 * TONE_EDGE_STEPS + 1, bool))
    near_steady = binary_dilation(is_steady, np.ones(STEADY_AVERAGE_STEPS + 5, bool))
    return is_periodic & ~near_tone & ~near_steady[STEADY_AVERAGE_STEPS // 2 : STEADY_AVERAGE_STEPS // 2 + num_steps]


def _compute_spectra(
    samples: Float[np.ndarray, " samples"],
    sample_rate: int,
    length: int,
    num_fft: int,
    first_step: int,
    num_steps: int,
) -> tuple[Float[np.ndarray, " window"], Float[np.ndarray, "steps bins"], float]:
    """Return a Hann window, the power spectrum around each step, mean removed, and the distance of its bins in Hz."""
    step = compute_step_samples(sample_rate)
    window = np.hanning(length + 1)[:-1].astype(np.float32)
    first = first_step * step + step // 2 - length // 2
    frames = np.lib.stride_tricks.sliding_window_view(samples, length)[first::step][:num_steps]
    spectra = scipy.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * window, num_fft, axis=1)
    return window, np.square(spectra.real) + np.square(spectra.imag), sample_rate / num_fft


def _compute_voicing(
    spectra: Float[np.ndarray, "steps bins"], window: Float[np.ndarray, " window"], sample_rate: int, num_fft: int
) -> Float[np.ndarray, " steps"]:
    """Compute the highest peak of the autocorrelation, divided by that of the window; 0 without a peak."""
    num_lags = min(num_fft, scipy.fft.next_fast_len(4 * (spectra.shape[1] - 1), real=True))  # four per shortest period
    lag_rate = sample_rate * num_lags / num_fft
    shortest, longest = int(lag_rate / F0_RANGE_HZ[1]), int(np.ceil(lag_rate / F0_RANGE_HZ[0]))
    window_power = np.square(np.abs(scipy.fft.rfft(window, num_fft)))[: spectra.shape[1]]
    of_window = scipy.fft.irfft(window_power, num_lags)[: longest + 2]
    correlation = scipy.fft.irfft(spectra, num_lags, axis=1)[:, : longest + 2]
    lags = correlation[:, shortest - 1 :] / np.maximum(correlation[:, :1], TINY)
    lags *= (of_window[0] / of_window[shortest - 1 :]).astype(np.float32)
    inner = lags[:, 1:-1]
    is_peak = (inner > lags[:, :-2]) & (inner >= lags[:, 2:])
    voicing: np.ndarray = np.where(is_peak, inner, 0.0).max(axis=1)
    return voicing


def _compute_power_beside_tone(spectra: Float[np.ndarray, "steps bins"], bin_hz: float) -> Float[np.ndarray, " steps"]:
    """Compute the share of the power that lies beside the strongest partial."""
    strongest = spectra.argmax(axis=1)
    reach = np.maximum(TONE_WIDTH_HZ / bin_hz, TONE_WIDTH * strongest)
    cumulative = np.cumsum(np.pad(spectra, ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    first = np.maximum(strongest - reach, 0).astype(int)
    end = np.minimum(strongest + reach + 1, spectra.shape[1]).astype(int)
    steps = np.arange(len(spectra))
    share: np.ndarray = 1.0 - (cumulative[steps, end] - cumulative[steps, first]) / np.maximum(cumulative[:, -1], TINY)
    return share


def _compute_steady_change(magnitudes: Float[np.ndarray, "steps bins"]) -> Float[np.ndarray, " others"]:
    """Compute the relative change of the averaged spectrum over the half second after a step or before it.

    Args:
        magnitudes: magnitudes of consecutive steps.

    Returns:
        the smaller of the two changes, for all but the first 60 and the last 60 steps.
    """
    half, reach = STEADY_AVERAGE_STEPS // 2, max(STEADY_DISTANCES_STEPS)
    cumulative = np.cumsum(np.pad(magnitudes, ((1, 0), (0, 0))), axis=0, dtype=np.float64)
    # entry k is centred on step k + half
    average = (cumulative[2 * half :] - cumulative[: -2 * half]).astype(np.float32)
    norm = np.linalg.norm(average, axis=1)
    count = len(magnitudes) - 2 * (reach + half)
    own, sides = slice(reach, reach + count), []
    for side in (1, -1):
        changes = [
            np.linalg.norm(average[reach + side * steps :][:count] - average[own], axis=1)
            for steps in STEADY_DISTANCES_STEPS
        ]
        sides.append(np.max(changes, axis=0))
    change: np.ndarray = np.min(sides, axis=0) / np.maximum(norm[own], TINY)
    return change
