"""Shift of formants at constant pitch."""

import functools
import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.data.augmentation.augmentation import scale_uniform
from singer_verify.errors import require_between

WINDOW_MS = 64.0  # rounded to a power of two samples; resolves a bass' harmonics
LIFTER_MS = 1.5  # part of the cepstrum kept as envelope; shorter than the period of notes up to 660 Hz
MAX_GAIN_DB = 40.0  # largest change of any part of the spectrum
OVERLAP = 4  # windows at each sample
MIN_MAGNITUDE = 1e-6  # spectra below this are treated as silence


class FormantShift:
    """Shift the spectral envelope along frequency but not the harmonics, like a shorter or longer vocal tract.

    The shift in semitones is uniform. See `shift_formants`.

    Shape: crops (crops, samples), uniform (crops, 1) → (crops, samples).

    Args:
        p: probability that a crop is changed.
        min_semitones: largest downward shift, as a negative number.
        max_semitones: largest upward shift.
    """

    num_draws, context_ratio = 1, 1.0

    def __init__(self, p: float, min_semitones: float, max_semitones: float) -> None:
        require_between(0.0, 1.0, **{"formants.p": p})
        require_between(-12.0, 12.0, **{"formants.max_semitones": max_semitones})
        require_between(-12.0, max_semitones, **{"formants.min_semitones": min_semitones})
        self.p, self.semitones = p, (min_semitones, max_semitones)

    def __call__(
        self, crops: Float[Tensor, "crops samples"], uniform: Float[Tensor, "crops 1"], sample_rate: int
    ) -> Float[Tensor, "crops samples"]:
        return shift_formants(crops, 2.0 ** (scale_uniform(*self.semitones, uniform[:, 0]) / 12.0), sample_rate)


def shift_formants(
    crops: Float[Tensor, "crops samples"], ratios: Float[Tensor, " crops"], sample_rate: int
) -> Float[Tensor, "crops samples"]:
    """Filter each frame by the ratio of its shifted to its original spectral envelope.

    The envelope is the cepstrally smoothed spectrum (Oppenheim and Schafer 1968, "Homomorphic analysis of speech"). For
    f0 above 660 Hz it begins to follow the harmonics, so that formants move less than requested.

    Args:
        crops: (crops, samples).
        ratios: (crops,), factor by which formant frequencies are multiplied.
        sample_rate: sample rate in Hz.
    """
    n_fft = 1 << round(math.log2(WINDOW_MS * sample_rate / 1000.0))
    window, scale = _build_window(n_fft, crops.shape[1], crops.device)
    spectrum = torch.fft.rfft(_split_frames(crops, window))
    power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
    log_power = power.clamp_(min=MIN_MAGNITUDE**2).log_()
    analysis, synthesis = _build_lifter(n_fft, round(LIFTER_MS * sample_rate / 1000.0), crops.device)
    change = _interpolate_rows(synthesis, ratios) - synthesis  # of the envelope
    max_gain = MAX_GAIN_DB * math.log(10.0) / 20.0
    gain = ((log_power @ analysis) @ change.mT).clamp_(-max_gain, max_gain).exp_()
    return _overlap_add(torch.fft.irfft(spectrum.mul_(gain), n_fft), window, crops.shape[1]) * scale


def _split_frames(
    crops: Float[Tensor, "crops samples"], window: Float[Tensor, " n_fft"]
) -> Float[Tensor, "crops frames n_fft"]:
    """Split crops into windowed frames, a quarter of a window apart and centred as in `torch.stft`."""
    padded = torch.nn.functional.pad(crops, (len(window) // 2, len(window) // 2))
    return padded.unfold(1, len(window), len(window) // OVERLAP) * window


def _overlap_add(
    frames: Float[Tensor, "crops frames n_fft"], window: Float[Tensor, " n_fft"], num_samples: int
) -> Float[Tensor, "crops num_samples"]:
    """Add up frames that are a quarter of a window apart, windowed.

    `torch.istft` would make the host wait for the device, as it looks at the sum of the windows.
    """
    num_crops, num_frames, n_fft = frames.shape
    num_silent = OVERLAP - 1  # before the first frame, and as many after the last
    padded = frames.new_empty(num_crops, num_frames + 2 * num_silent, n_fft)
    padded[:, :num_silent], padded[:, -num_silent:] = 0.0, 0.0
    torch.mul(frames, window, out=padded[:, num_silent:-num_silent])
    # A hop of the sum is the last quarter of one frame, the third of the next, ...: equally far apart in memory.
    apart = n_fft - n_fft // OVERLAP
    shape = num_crops, num_frames + num_silent, OVERLAP, n_fft // OVERLAP
    hops = padded.as_strided(shape, (padded.stride(0), n_fft, apart, 1), apart)
    return hops.sum(dim=2).flatten(1)[:, n_fft // 2 : n_fft // 2 + num_samples]


@functools.lru_cache(maxsize=8)
def _build_window(
    n_fft: int, num_samples: int, device: torch.device
) -> tuple[Float[Tensor, " n_fft"], Float[Tensor, " samples"]]:
    """Return a Hann window, and 1 / the sum of the squares of the windows of all frames at each sample."""
    window = torch.hann_window(n_fft)
    num_frames = 1 + num_samples // (n_fft // OVERLAP)
    total = _overlap_add(window.expand(1, num_frames, n_fft), window, num_samples)[0]
    return window.to(device), (1.0 / total).to(device)


@functools.lru_cache(maxsize=8)
def _build_lifter(
    n_fft: int, num_coefficients: int, device: torch.device
) -> tuple[Float[Tensor, "frequencies coefficients"], Float[Tensor, "frequencies coefficients"]]:
    """Build the matrices from log power to the lowest part of the cepstrum, and from there to the log envelope."""
    frequencies, quefrency = np.arange(n_fft // 2 + 1), np.arange(min(num_coefficients, n_fft // 2) + 1)
    cosines = np.cos(2.0 * np.pi * frequencies[:, None] * quefrency / n_fft)
    occurrences = np.where((frequencies == 0) | (frequencies == n_fft // 2), 1.0, 2.0) / n_fft
    repeats = np.where((quefrency == 0) | (quefrency == n_fft // 2), 1.0, 2.0)
    analysis, synthesis = 0.5 * occurrences[:, None] * cosines, cosines * repeats
    return torch.from_numpy(analysis).to(device, torch.float32), torch.from_numpy(synthesis).to(device, torch.float32)


def _interpolate_rows(
    matrix: Float[Tensor, "frequencies coefficients"], ratios: Float[Tensor, " crops"]
) -> Float[Tensor, "crops frequencies coefficients"]:
    """Interpolate the rows of a matrix linearly at 1 / `ratios` of their number; constant beyond the last."""
    last = len(matrix) - 1
    positions = (torch.arange(last + 1, device=matrix.device) / ratios[:, None]).clamp_(max=last)
    below = positions.to(torch.int64)
    return torch.lerp(matrix[below], matrix[(below + 1).clamp_(max=last)], (positions - below)[:, :, None])
