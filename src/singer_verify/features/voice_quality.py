"""Measures of voice quality for each frame, as speech tools report them: how regular, breathy and bright a voice is."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import binary_erosion
from torch import Tensor

from singer_verify.errors import SingerVerifyError, UtteranceError, require_between, require_choice
from singer_verify.features.cycles import compute_perturbations
from singer_verify.features.f0 import F0Tracker, convert_samples_for_world
from singer_verify.features.feature import require_one_frame

# The ranges that are mapped to 0 to 1; values beyond them are clipped.
MEASURES = {
    "jitter": (0.0, 3.0),  # % of the period
    "shimmer": (0.0, 1.5),  # dB
    "hnr": (-10.0, 40.0),  # dB
    "cpp": (0.0, 40.0),  # dB
    "tilt": (-25.0, 5.0),  # dB per octave
    "h1_h2": (-20.0, 30.0),  # dB
    "vibrato_rate": (0.0, 10.0),  # Hz
    "vibrato_extent": (0.0, 200.0),  # cents, half of peak to peak
    "voicing": (0.0, 1.0),
}
FRAMES_AT_ONCE = 256

HARMONIC_PERIODS = 4.5  # window for harmonics and noise, in periods (Boersma 1993)
PERIOD_TOLERANCE = 0.05  # of a peak from the f0's period
SINC_REACH, SINC_STEPS = 16, 8  # samples to either side, steps per sample
TILT_MAX_HZ = 5000.0
CEPSTRUM_PERIODS, MIN_CEPSTRUM_S = 3.0, 0.04
CEPSTRUM_LINE_FROM_S = 0.001  # as Hillenbrand et al. 1994

VIBRATO_RATES_HZ = np.arange(4.0, 9.01, 0.1)
UNSTEADY_F0_MS = 10.0  # at either end of voiced frames, where f0 is of half a window
MIN_VIBRATO_S = 0.4  # two cycles of 5 Hz
MIN_VIBRATO_CENTS = 10.0
MIN_VIBRATO_SHARE = 0.75  # of the variance about the trend that one sine explains
MIN_VIBRATO_VOICING = 0.75  # share of voiced frames

Frames = Float[np.ndarray, " frames"]
Lags = Float[np.ndarray, "frames lags"]


class VoiceQuality:
    """Measures of voice quality, each scaled from its range in `MEASURES` to 0 to 1.

    - `jitter`, `shimmer`: mean change of the period (%) and of the level (dB) from one cycle to the next, over
      `cycle_window_ms`. The mean change of five cycles is subtracted, so that vibrato, glides and swells do not count.
      Cycles are found by cross-correlation of neighbours.
    - `hnr`: harmonics-to-noise ratio, dB (Boersma 1993, "Accurate short-term analysis of the fundamental frequency and
      the harmonics-to-noise ratio of a sampled sound"), in windows of 4.5 periods.
    - `cpp`: cepstral peak prominence, dB above the line through the cepstrum (Hillenbrand, Cleveland, Erickson 1994,
      "Acoustic correlates of breathy vocal quality").
    - `tilt`: slope of the harmonics' levels up to 5 kHz, dB per octave; each octave has the same weight.
    - `h1_h2`: level of the first harmonic above the second, dB, not corrected for formants.
    - `vibrato_rate`, `vibrato_extent`: the sine of 4 to 9 Hz that fits the f0 contour best over `vibrato_window_s`, Hz
      and cents from the middle to a peak; 0 where none of at least 10 cents explains most of the contour.
    - `voicing`: 1 in voiced frames, else 0.

    Unvoiced frames are interpolated linearly between voiced ones, as in `PitchContour`, except for voicing and vibrato.
    No measure depends on the level of the recording. Raises UtteranceError for an utterance without a voiced frame.

    Shape: samples (samples,) → (frames, measures), frames = 1 + samples // hop.

    Args:
        measures: which measures, in the order of the bins.
        cycle_window_ms: window of jitter and shimmer.
        vibrato_window_s: window of the vibrato; a shorter utterance is one window.
        sample_rate: sample rate of the input, in Hz.
        hop_ms, f0_method, f0_min_hz, f0_max_hz: see `F0Tracker`.
    """

    def __init__(
        self,
        measures: Sequence[str] = tuple(MEASURES),
        cycle_window_ms: float = 100.0,
        vibrato_window_s: float = 0.6,
        sample_rate: int = 16_000,
        hop_ms: float = 10.0,
        f0_method: str = "dio",
        f0_min_hz: float = 60.0,
        f0_max_hz: float = 1100.0,
    ) -> None:
        if isinstance(measures, str) or not len(measures) or len(set(measures)) < len(measures):
            raise SingerVerifyError(
                f"measures={measures}: expected a list of different ones, of {', '.join(MEASURES)}."
            )
        for name in measures:
            require_choice(tuple(MEASURES), measures=name)
        require_between(20.0, 1000.0, cycle_window_ms=cycle_window_ms)
        require_between(MIN_VIBRATO_S, 2.0, vibrato_window_s=vibrato_window_s)
        self.f0 = F0Tracker(sample_rate, hop_ms, f0_method, f0_min_hz, f0_max_hz)
        self.measures, self.num_bins = list(measures), len(measures)
        self.cycle_window_ms, self.vibrato_window_s = float(cycle_window_ms), float(vibrato_window_s)
        self.sample_rate, self.hop_ms, self.hop_samples = sample_rate, self.f0.hop_ms, self.f0.hop_samples

    @property
    def bandwidth_hz(self) -> float:
        return self.sample_rate / 2

    @property
    def recipe(self) -> dict[str, Any]:
        names = ("measures", "cycle_window_ms", "vibrato_window_s")
        own = {name: getattr(self, name) for name in names}
        return {"_target_": f"{__name__}.VoiceQuality"} | own | self.f0.settings

    def __call__(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "frames bins"]:
        values = self.compute_measures(convert_samples_for_world(samples))
        low, high = np.array([MEASURES[name] for name in self.measures]).T
        frames = np.stack([values[name] for name in self.measures], axis=1)
        return torch.from_numpy(np.clip((frames - low) / (high - low), 0.0, 1.0)).to(samples)

    def compute_measures(self, voice: Float[np.ndarray, " samples"]) -> dict[str, Frames]:
        """Compute the measures in the units of `MEASURES`, (frames,) each, by name.

        Raises:
            UtteranceError: the recording is shorter than a window, or has no voiced frame.
        """
        cepstrum_samples = round(max(CEPSTRUM_PERIODS / self.f0.f0_min_hz, MIN_CEPSTRUM_S) * self.sample_rate)
        harmonic_samples = round(HARMONIC_PERIODS / self.f0.f0_min_hz * self.sample_rate)
        require_one_frame(len(voice), max(cepstrum_samples, harmonic_samples), self.sample_rate)
        f0_hz = self.f0(voice)
        voiced = np.flatnonzero(f0_hz)
        if voiced.size == 0:
            raise UtteranceError("has no voiced frame; this recipe needs singing with a pitch: delete it or repair it.")
        wanted = set(self.measures)
        values: dict[str, Frames] = {"voicing": (f0_hz > 0).astype(np.float64)}
        if wanted & {"vibrato_rate", "vibrato_extent"}:
            values["vibrato_rate"], values["vibrato_extent"] = measure_vibrato(
                f0_hz, self.hop_ms, self.vibrato_window_s
            )
        if wanted & {"jitter", "shimmer"}:
            window = self.cycle_window_ms * self.sample_rate / 1000
            changes = compute_perturbations(voice, f0_hz, self.hop_samples, self.sample_rate, window)
            values |= {name: interpolate_frames(name, changes[name]) for name in changes if name in wanted}
        parts: list[dict[str, Frames]] = []
        for first in range(0, len(voiced), FRAMES_AT_ONCE):
            frames = voiced[first : first + FRAMES_AT_ONCE]
            where = voice, frames * self.hop_samples, self.sample_rate / f0_hz[frames], self.sample_rate
            part = compute_harmonic_measures(*where) if wanted & {"hnr", "tilt", "h1_h2"} else {}
            if "cpp" in wanted:
                part["cpp"] = compute_cepstral_peak_prominence(*where, cepstrum_samples)
            parts.append(part)
        for name in parts[0]:
            of_voiced = np.concatenate([part[name] for part in parts])
            values[name] = np.interp(np.arange(len(f0_hz)), voiced, of_voiced)
        return {name: values[name] for name in self.measures}


def interpolate_frames(name: str, values: Frames) -> Frames:
    """Interpolate frames that are NaN linearly between their neighbours.

    Raises:
        UtteranceError: all are NaN.
    """
    measured = np.flatnonzero(np.isfinite(values))
    if measured.size == 0:
        raise UtteranceError(
            f"has too few regular cycles for {name}; this recipe needs singing with a pitch: delete it or repair it, "
            f"or leave {name} out of features.measures."
        )
    return np.interp(np.arange(len(values)), measured, values[measured])


def compute_harmonic_measures(
    voice: Float[np.ndarray, " samples"],
    centres: Int[np.ndarray, " frames"],
    periods: Float[np.ndarray, " frames"],
    sample_rate: int,
) -> dict[str, Frames]:
    """Compute `hnr` (dB), `tilt` (dB per octave) and `h1_h2` (dB) of voiced frames, each in a window of 4.5 periods.

    Args:
        voice: samples, at least as many as the longest window.
        centres: sample on which each frame is centred; at the ends of the recording, windows are moved inside.
        periods: period of each frame, in samples.
        sample_rate: in Hz.
    """
    lengths = HARMONIC_PERIODS * periods
    reach = int(lengths.max() / 2) + 1
    middles = np.clip(centres, np.ceil(lengths / 2), len(voice) - 1 - np.ceil(lengths / 2)).astype(np.int64)
    windows = sliding_window_view(np.pad(voice, reach), 2 * reach + 1)[middles]
    phases = np.arange(-reach, reach + 1) / lengths[:, None]
    tapers = np.where(np.abs(phases) < 0.5, 0.5 + 0.5 * np.cos(2.0 * np.pi * phases), 0.0)
    windows = (windows - ((windows * tapers).sum(axis=1) / tapers.sum(axis=1))[:, None]) * tapers
    max_lag = round((1.0 + PERIOD_TOLERANCE) * periods.max()) + SINC_REACH + 2
    n_fft = 2 ** int(np.ceil(np.log2(2 * reach + 1 + max_lag)))
    power = np.square(np.abs(np.fft.rfft(windows, n_fft))) + np.finfo(float).tiny

    def correlate_taper(lags: Lags) -> Lags:
        """Return the autocorrelation of the Hann window (Boersma 1993, equation 8)."""
        share = np.abs(lags) / lengths[:, None]
        turn = 2.0 * np.pi * share
        return (1.0 - share) * (2.0 + np.cos(turn)) / 3.0 + np.sin(turn) / (2.0 * np.pi)

    correlations = np.fft.irfft(power, n_fft)
    correlations /= correlations[:, :1]
    harmonic = np.clip(find_peaks(correlations, periods, correlate_taper), 1e-9, None)
    harmonic = np.minimum(np.minimum(harmonic, 1.0 / harmonic), 1.0 - 1e-9)  # above 1 where the level changes
    sums = np.pad(np.cumsum(power, axis=1), ((0, 0), (1, 0)))
    levels, numbers = _compute_harmonic_levels(sums, n_fft / periods, sample_rate / periods)
    octaves = np.log2(numbers)
    is_counted = (numbers * (sample_rate / periods)[:, None] <= TILT_MAX_HZ) | (numbers <= 2)
    weights = is_counted / numbers
    weights /= weights.sum(axis=1, keepdims=True)
    centred = octaves - (weights * octaves).sum(axis=1, keepdims=True)
    return {
        "hnr": 10.0 * np.log10(harmonic / (1.0 - harmonic)),
        "tilt": (weights * centred * levels).sum(axis=1) / (weights * np.square(centred)).sum(axis=1),
        "h1_h2": levels[:, 0] - levels[:, 1],
    }


def _compute_harmonic_levels(
    sums: Float[np.ndarray, "frames bins"], f0_bins: Frames, f0_hz: Frames
) -> tuple[Float[np.ndarray, "frames harmonics"], Float[np.ndarray, " harmonics"]]:
    """Compute the level of each harmonic, dB: the energy within half an f0, which holds it however far f0 moves.

    Args:
        sums: sums of the power of the bins before each.
        f0_bins: f0 in bins of the spectrum.
        f0_hz: f0.

    Returns:
        Levels, and the numbers of the harmonics.
    """
    numbers = np.arange(1, max(2, int(TILT_MAX_HZ / f0_hz.min())) + 1)
    edges = np.clip((np.arange(len(numbers) + 1) + 0.5) * f0_bins[:, None] + 0.5, 0, sums.shape[1] - 1)
    before = np.minimum(edges.astype(np.int64), sums.shape[1] - 2)
    below, above = (np.take_along_axis(sums, before + shift, axis=1) for shift in (0, 1))
    energies = np.diff(below + (edges - before) * (above - below), axis=1)
    return 10.0 * np.log10(np.maximum(energies, 1e-15 * sums[:, -1:])), numbers.astype(np.float64)


def compute_cepstral_peak_prominence(
    voice: Float[np.ndarray, " samples"],
    centres: Int[np.ndarray, " frames"],
    periods: Float[np.ndarray, " frames"],
    sample_rate: int,
    window_samples: int,
) -> Frames:
    """Compute the cepstral peak at the period above the line through the cepstrum, dB, of voiced frames.

    Args:
        voice: samples, at least as many as the window.
        centres: sample on which each frame is centred; at the ends of the recording, windows are moved inside.
        periods: period of each frame, in samples.
        sample_rate: in Hz.
        window_samples: length of the Hamming window.
    """
    starts = np.clip(centres - window_samples // 2, 0, len(voice) - window_samples)
    windows = sliding_window_view(voice, window_samples)[starts]
    windows = (windows - windows.mean(axis=1, keepdims=True)) * np.hamming(window_samples)
    n_fft = 2 ** int(np.ceil(np.log2(window_samples)))
    power = np.square(np.abs(np.fft.rfft(windows, n_fft)))
    floor = 1e-12 * power.max(axis=1, keepdims=True) + np.finfo(float).tiny
    cepstra = np.fft.irfft(10.0 * np.log10(np.maximum(power, floor)), n_fft)
    levels = 20.0 * np.log10(np.maximum(np.abs(cepstra), 1e-6))
    lags = np.arange(round(CEPSTRUM_LINE_FROM_S * sample_rate), n_fft // 2)
    centred = lags - lags.mean()
    slopes = levels[:, lags] @ centred / np.square(centred).sum()
    line = levels[:, lags].mean(axis=1) + slopes * (periods - lags.mean())
    return 20.0 * np.log10(np.maximum(find_peaks(cepstra, periods), 1e-6)) - line


def find_peaks(
    series: Lags,
    periods: Frames,
    compute_divisor: Callable[[Lags], Lags] = np.ones_like,
) -> Frames:
    """Find the largest value within `PERIOD_TOLERANCE` of the period, interpolated between lags.

    Args:
        series: functions of the lag that are symmetric about 0.
        periods: expected lag for each, in samples.
        compute_divisor: what the series is divided by, a function of lags (frames, _).
    """
    nearest = np.rint(periods).astype(np.int64)[:, None]
    tolerances = np.maximum(PERIOD_TOLERANCE * periods, 1.0)[:, None]
    offsets = np.arange(-int(tolerances.max()), int(tolerances.max()) + 1)
    lags = nearest + offsets
    values = np.take_along_axis(series, np.abs(lags), axis=1) / compute_divisor(lags.astype(np.float64))
    best = np.where(np.abs(offsets) <= tolerances, values, -np.inf).argmax(axis=1)
    coarse = nearest + offsets[best][:, None]
    around, between = np.arange(-SINC_REACH, SINC_REACH + 1), np.arange(-SINC_STEPS, SINC_STEPS + 1) / SINC_STEPS
    distances = around[:, None] - between
    sinc = np.sinc(distances) * np.cos(0.5 * np.pi * distances / (SINC_REACH + 1)) ** 2
    fine = np.take_along_axis(series, np.abs(coarse + around), axis=1) @ sinc / compute_divisor(coarse + between)
    middle = np.clip(fine.argmax(axis=1), 1, len(between) - 2)[:, None]
    return refine_peaks(*(np.take_along_axis(fine, middle + side, axis=1)[:, 0] for side in (-1, 0, 1)))[0]


def refine_peaks(before: Frames, peak: Frames, after: Frames) -> tuple[Frames, Frames]:
    """Return the height of the parabola through three values each, and its place relative to the middle one."""
    curvature = before - 2.0 * peak + after
    slope = 0.5 * (after - before)
    shift = np.clip(-np.divide(slope, curvature, out=np.zeros_like(peak), where=curvature < 0), -1.0, 1.0)
    return peak + 0.5 * slope * shift, shift


def measure_vibrato(f0_hz: Frames, hop_ms: float, window_s: float) -> tuple[Frames, Frames]:
    """Measure rate (Hz) and extent (cents) of the vibrato around each frame, 0 where there is none.

    The contour of f0 in cents, interpolated across unvoiced gaps, is fitted by a parabola and one sine. A vibrato is a
    sine whose fit is better than at the neighbouring rates, which that of a step between notes is not.

    Args:
        f0_hz: f0 of each frame, 0 where unvoiced; at least one is voiced.
        hop_ms: hop between frames.
        window_s: length of the window; at the ends of the recording, it is moved inside.
    """
    num_frames = len(f0_hz)
    width = min(round(window_s * 1000.0 / hop_ms), num_frames)
    rates, extents = np.zeros(num_frames), np.zeros(num_frames)
    if width * hop_ms < 1000.0 * MIN_VIBRATO_S:
        return rates, extents
    steady = binary_erosion(f0_hz > 0, iterations=max(1, round(UNSTEADY_F0_MS / hop_ms)))
    voiced = np.flatnonzero(f0_hz * steady if steady.any() else f0_hz)
    cents = np.interp(np.arange(num_frames), voiced, 1200.0 * np.log2(f0_hz[voiced]))
    trend, waves, norms = build_vibrato_bases(width, hop_ms)
    windows = sliding_window_view(cents, width)
    windows = windows - windows.mean(axis=1, keepdims=True)
    windows = windows - windows @ trend @ trend.T
    parts = (windows @ waves).reshape(len(windows), 2, len(VIBRATO_RATES_HZ))
    energies = np.square(parts).sum(axis=1)
    best, rows = energies.argmax(axis=1), np.arange(len(windows))
    middle = np.clip(best, 1, len(VIBRATO_RATES_HZ) - 2)
    peak, shift = refine_peaks(*(energies[rows, middle + side] for side in (-1, 0, 1)))
    amplitudes = np.sqrt(np.square(parts[rows, :, best] / norms[:, best].T).sum(axis=1))
    voicing = sliding_window_view((f0_hz > 0).astype(np.float64), width).mean(axis=1)
    is_vibrato = (
        (best == middle)
        & (peak >= MIN_VIBRATO_SHARE * np.square(windows).sum(axis=1))
        & (amplitudes >= MIN_VIBRATO_CENTS)
        & (voicing >= MIN_VIBRATO_VOICING)
    )
    step_hz = VIBRATO_RATES_HZ[1] - VIBRATO_RATES_HZ[0]
    of_frames = np.clip(np.arange(num_frames) - width // 2, 0, len(windows) - 1)
    rates = np.where(is_vibrato, VIBRATO_RATES_HZ[middle] + shift * step_hz, 0.0)[of_frames]
    extents = np.where(is_vibrato, amplitudes, 0.0)[of_frames]
    return rates, extents


@cache
def build_vibrato_bases(
    width: int, hop_ms: float
) -> tuple[Float[np.ndarray, "width 3"], Float[np.ndarray, "width waves"], Float[np.ndarray, "2 rates"]]:
    """Build orthonormal parabolas, and the cosine and sine of each rate without their parts in the parabolas.

    Returns:
        The parabolas; the cosines of all rates and then the sines, of unit length; the lengths they had.
    """
    times = np.arange(width) - (width - 1) / 2
    trend = np.linalg.qr(np.stack([np.ones(width), times, np.square(times)], axis=1))[0]
    angles = 2.0 * np.pi * VIBRATO_RATES_HZ * (times * hop_ms / 1000.0)[:, None]
    waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    waves -= trend @ (trend.T @ waves)
    norms = np.linalg.norm(waves, axis=0)  # a cosine is even and a sine odd: they are orthogonal already
    return trend, waves / norms, norms.reshape(2, -1)
