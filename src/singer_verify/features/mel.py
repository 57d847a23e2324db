"""Mel spectrograms, with an optional high-pass filter and pre-emphasis of the waveform."""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from singer_verify.errors import SingerVerifyError, require_at_least, require_between, require_choice
from singer_verify.features.feature import compute_hop_samples, require_one_frame

HIGH_PASS_ORDER = 5
# Slaney's mel scale (Auditory Toolbox, 1998): linear to 1 kHz, then logarithmic, 27 steps for a factor of 6.4.
LINEAR_HZ_PER_MEL = 200.0 / 3.0
BREAK_FREQUENCY_HZ = 1000.0
BREAK_FREQUENCY_MEL = BREAK_FREQUENCY_HZ / LINEAR_HZ_PER_MEL
LOG_HZ_PER_MEL = math.log(6.4) / 27.0
LEVEL_SCALES = ("unit", "db", "log")


class WaveformFilter:
    """An optional high-pass filter followed by optional pre-emphasis; both are off by default.

    The high-pass is a fifth-order Butterworth filter, run forwards and backwards for zero phase
    (`scipy.signal.filtfilt`); at 30 Hz it is the filter of the AutoVC family (Qian et al. 2019), which removes offset
    and rumble. Pre-emphasis is y[t] = x[t] - a x[t-1], and y[0] = (1 - a) x[0] (The HTK Book 3.4, section 5.2).

    Shape: samples (..., samples) → (..., samples), on the device of the samples; filtered in double precision.

    Args:
        sample_rate: sample rate of the input, in Hz.
        high_pass_hz: cutoff of the high-pass filter; 0 turns it off.
        pre_emphasis: coefficient a, for instance 0.97; 0 turns it off.
    """

    def __init__(self, sample_rate: int, high_pass_hz: float = 0.0, pre_emphasis: float = 0.0) -> None:
        require_between(0.0, 0.49 * sample_rate, high_pass_hz=high_pass_hz)
        require_between(0.0, 1.0, pre_emphasis=pre_emphasis)
        self.sample_rate, self.high_pass_hz, self.pre_emphasis = sample_rate, float(high_pass_hz), float(pre_emphasis)

    def __call__(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch samples"]:
        if self.high_pass_hz:
            samples = self._apply_high_pass(samples)
        if self.pre_emphasis:
            before = torch.cat([samples[..., :1], samples[..., :-1]], dim=-1)
            samples = samples - self.pre_emphasis * before
        return samples

    def _apply_high_pass(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch samples"]:
        from scipy.signal import butter, filtfilt

        numerator, denominator = butter(HIGH_PASS_ORDER, self.high_pass_hz, btype="highpass", fs=self.sample_rate)
        filtered = filtfilt(numerator, denominator, samples.cpu().double().numpy())
        return torch.from_numpy(filtered.copy()).to(samples)


class MelSpectrogram(nn.Module):
    """Magnitude spectrogram (Hann window, centred frames, reflected edges), mel bands, logarithm.

    A band magnitude m becomes 20 log10(m) dB, never below `floor_db`; `headroom_db` is subtracted, and the range from
    `floor_db` to 0 is mapped to [0, 1] and clipped. With the defaults this is the input of the AutoVC family (Qian et
    al. 2019, "AutoVC: zero-shot voice style transfer with only autoencoder loss"), which singer encoders adopted.
    The other level scales apply neither headroom nor mapping: `db` gives the decibels, `log` ln(m).

    Shape: samples (..., samples) → (..., frames, bins), frames = 1 + samples // hop, on the device of the samples.
    Raises UtteranceError for an utterance too short to reflect half a window at its edges.

    Args:
        num_bins: mel bands.
        sample_rate: sample rate of the input, in Hz.
        n_fft: length of window and transform, in samples.
        hop_ms: hop between frames; must be a whole number of samples.
        fmin_hz: lower edge of the lowest band.
        fmax_hz: upper edge of the highest band; at most half the sample rate.
        floor_db: lower limit of the levels.
        headroom_db: level subtracted from every frame with `level_scale=unit`, so that loud frames stay below 1.
        level_scale: unit, db or log.
        high_pass_hz: cutoff of the waveform's high-pass, see `WaveformFilter`; 0 turns it off.
        pre_emphasis: coefficient of the waveform's pre-emphasis, see `WaveformFilter`; 0 turns it off.
    """

    window: Tensor
    filterbank: Tensor

    def __init__(
        self,
        num_bins: int,
        sample_rate: int = 16_000,
        n_fft: int = 1024,
        hop_ms: float = 10.0,
        fmin_hz: float = 90.0,
        fmax_hz: float = 7600.0,
        floor_db: float = -100.0,
        headroom_db: float = 16.0,
        level_scale: str = "unit",
        high_pass_hz: float = 0.0,
        pre_emphasis: float = 0.0,
    ) -> None:
        super().__init__()
        require_at_least(1, num_bins=num_bins, sample_rate=sample_rate, n_fft=n_fft)
        require_between(0.0, sample_rate / 2, fmin_hz=fmin_hz, fmax_hz=fmax_hz)
        require_between(-300.0, -1.0, floor_db=floor_db)
        require_choice(LEVEL_SCALES, level_scale=level_scale)
        self.num_bins, self.sample_rate, self.hop_ms = num_bins, sample_rate, float(hop_ms)
        self.n_fft, self.fmin_hz, self.fmax_hz = n_fft, float(fmin_hz), float(fmax_hz)
        self.floor_db, self.headroom_db = float(floor_db), float(headroom_db)
        self.level_scale = level_scale
        self.hop_samples = compute_hop_samples(hop_ms, sample_rate)
        self.waveform_filter = WaveformFilter(sample_rate, high_pass_hz, pre_emphasis)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        filterbank = build_mel_filterbank(num_bins, sample_rate, n_fft, fmin_hz, fmax_hz)
        # clone: torch aligns its own memory, and products of equally aligned matrices are equal to the bit
        self.register_buffer("filterbank", torch.from_numpy(filterbank).clone(), persistent=False)

    @property
    def bandwidth_hz(self) -> float:
        return self.fmax_hz

    @property
    def recipe(self) -> dict[str, Any]:
        names = ("num_bins", "sample_rate", "n_fft", "hop_ms", "fmin_hz", "fmax_hz")
        level_names = ("floor_db", "headroom_db", "level_scale")
        waveform_settings = {name: getattr(self.waveform_filter, name) for name in ("high_pass_hz", "pre_emphasis")}
        own = {name: getattr(self, name) for name in (*names, *level_names)}
        return {"_target_": f"{__name__}.MelSpectrogram"} | own | waveform_settings

    @property
    def context_samples(self) -> int | None:
        is_filtered = (
            self.waveform_filter.high_pass_hz or self.waveform_filter.pre_emphasis
        )  # from an utterance's start
        return None if is_filtered else self.n_fft // 2

    def forward(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames bins"]:
        return self._scale_levels(self.compute_bands(samples))

    def compute_bands(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames bins"]:
        """Compute the magnitudes of the bands, without floor and logarithm."""
        shortest = self.n_fft // 2 + 1  # half a window is reflected at each edge
        require_one_frame(samples.shape[-1], shortest, self.sample_rate)
        samples = self.waveform_filter(samples)
        magnitudes = compute_magnitudes(samples.reshape(-1, samples.shape[-1]), self.window, self.hop_samples)
        bands = (self.filterbank @ magnitudes).mT
        return bands.reshape(*samples.shape[:-1], *bands.shape[-2:])

    def _scale_levels(self, bands: Float[Tensor, "*batch frames bins"]) -> Float[Tensor, "*batch frames bins"]:
        audible = bands.clamp(min=10.0 ** (self.floor_db / 20.0))
        if self.level_scale == "log":
            return torch.log(audible)
        level_db = 20.0 * torch.log10(audible)
        if self.level_scale == "db":
            return level_db
        return ((level_db - self.headroom_db - self.floor_db) / -self.floor_db).clamp(0.0, 1.0)


def compute_magnitudes(
    samples: Float[Tensor, "batch samples"], window: Float[Tensor, " window"], hop_samples: int
) -> Float[Tensor, "batch frequencies frames"]:
    """Compute the magnitude spectrogram: centred frames as long as the window, reflected edges."""
    spectrogram = torch.stft(
        samples, len(window), hop_samples, window=window, center=True, pad_mode="reflect", return_complex=True
    )
    return compute_absolute_values(spectrogram.mT).mT  # frame after frame, as they lie in memory


def compute_absolute_values(spectrum: Complex[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Compute the absolute value of each complex number, on a CPU in two thirds of the time of `abs`, to the bit.

    `abs` computes each value twice there. It is left to it where a gradient is wanted, which `hypot` would make NaN at
    zero, where a graph is traced for export, and in double precision, in which the two may differ in the last bit.

    Args:
        spectrum: complex numbers; fastest where they are contiguous.
    """
    is_traced = torch.compiler.is_compiling()
    if spectrum.dtype != torch.complex64 or not spectrum.is_cpu or spectrum.requires_grad or is_traced:
        return spectrum.abs()
    # Copies, because `hypot` takes another way through numbers that do not lie side by side, whose last bit may differ.
    real, imaginary = (part.clone(memory_format=torch.contiguous_format) for part in (spectrum.real, spectrum.imag))
    return torch.hypot(real, imaginary, out=real)


def build_mel_filterbank(
    num_bins: int, sample_rate: int, n_fft: int, fmin_hz: float, fmax_hz: float
) -> Float[np.ndarray, "bins frequencies"]:
    """Build triangular filters on Slaney's mel scale, each with unit area in Hz.

    Raises:
        SingerVerifyError: a band is narrower than a bin of the transform.
    """
    edges_hz = _mel_to_hz(np.linspace(_hz_to_mel(fmin_hz), _hz_to_mel(fmax_hz), num_bins + 2))
    frequencies_hz = np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)
    lower, centre, upper = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (frequencies_hz - lower) / (centre - lower)
    falling = (upper - frequencies_hz) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (upper - lower)
    if empty := int((triangles.max(axis=1) == 0.0).sum()):
        raise SingerVerifyError(
            f"num_bins={num_bins}: {empty} mel bands between {fmin_hz:g} and {fmax_hz:g} Hz are narrower than a bin of "
            f"n_fft={n_fft}; use fewer bands or a longer n_fft."
        )
    return triangles.astype(np.float32)


def _hz_to_mel(frequency_hz: float) -> float:
    if frequency_hz < BREAK_FREQUENCY_HZ:
        return frequency_hz / LINEAR_HZ_PER_MEL
    return BREAK_FREQUENCY_MEL + math.log(frequency_hz / BREAK_FREQUENCY_HZ) / LOG_HZ_PER_MEL


def _mel_to_hz(mel: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    logarithmic_hz = BREAK_FREQUENCY_HZ * np.exp(LOG_HZ_PER_MEL * (mel - BREAK_FREQUENCY_MEL))
    return np.where(mel < BREAK_FREQUENCY_MEL, mel * LINEAR_HZ_PER_MEL, logarithmic_hz)
