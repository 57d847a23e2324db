"""Shift of formants at constant pitch."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.data.augmentation.augmentation import scale_uniform
from singer_verify.errors import require_between

WINDOW_MS = 64.0  # rounded to a power of two samples; resolves a bass' harmonics
LIFTER_MS = 1.5  # part of the cepstrum kept as envelope; shorter than the period of notes up to 660 Hz
MAX_GAIN_DB = 40.0  # largest change of any part of the spectrum
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
    window = torch.hann_window(n_fft, device=crops.device)
    spectrum = torch.stft(crops, n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True)
    envelope = compute_log_envelope(spectrum.abs(), round(LIFTER_MS * sample_rate / 1000.0))
    positions = torch.arange(envelope.shape[1], device=crops.device) / ratios[:, None]
    gain = _interpolate_envelope(envelope, positions) - envelope
    max_gain = MAX_GAIN_DB * math.log(10.0) / 20.0
    return torch.istft(
        spectrum * gain.clamp(-max_gain, max_gain).exp(), n_fft, n_fft // 4, window=window, length=crops.shape[1]
    )


def compute_log_envelope(
    magnitudes: Float[Tensor, "crops frequencies frames"], num_coefficients: int
) -> Float[Tensor, "crops frequencies frames"]:
    """Smooth log magnitudes along frequency by keeping only the first coefficients of the cepstrum."""
    cepstrum = torch.fft.irfft(magnitudes.clamp(min=MIN_MAGNITUDE).log(), dim=1)
    quefrency = torch.arange(cepstrum.shape[1], device=magnitudes.device)
    is_kept = torch.minimum(quefrency, cepstrum.shape[1] - quefrency) <= num_coefficients
    return torch.fft.rfft(cepstrum * is_kept[:, None], dim=1).real


def _interpolate_envelope(
    envelope: Float[Tensor, "crops frequencies frames"], positions: Float[Tensor, "crops frequencies"]
) -> Float[Tensor, "crops frequencies frames"]:
    """Interpolate the envelope linearly at fractional frequency bins; constant beyond the highest bin."""
    positions = positions.clamp(max=envelope.shape[1] - 1)
    below = positions.floor().to(torch.int64)
    above = (below + 1).clamp(max=envelope.shape[1] - 1)
    low, high = (envelope.gather(1, index[:, :, None].expand_as(envelope)) for index in (below, above))
    return torch.lerp(low, high, (positions - below)[:, :, None].expand_as(envelope))
