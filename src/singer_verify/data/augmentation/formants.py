"""Formants moved up or down, at the same pitch."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.data.augmentation.random_draws import scale_uniform
from singer_verify.errors import require_between

WINDOW_MS = 64.0  # rounded to a power of two samples: resolves the harmonics of a bass
LIFTER_MS = 1.5  # of the cepstrum that is envelope: shorter than the period of notes up to 660 Hz
MAX_GAIN_DB = 40.0  # that a part of the spectrum is raised or lowered by
MIN_MAGNITUDE = 1e-6  # magnitude, below which a spectrum is taken for silence


class FormantShift:
    """Moves the spectral envelope along frequency and leaves harmonics where they are: a shorter or longer throat.

    The shift in semitones is uniform. See `shift_formants`.

    Shape: crops (crops, samples), uniform (crops, 1) → (crops, samples).

    Args:
        p: probability that a crop is changed.
        min_semitones: negative for downwards.
        max_semitones: most.
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
    """Crops filtered, frame by frame, by their own envelope moved, over their envelope as it is.

    The envelope is the cepstrally smoothed spectrum (Oppenheim and Schafer 1968, "Homomorphic analysis of speech");
    above 660 Hz of f0 it begins to follow the harmonics, so that formants move less than asked.

    Args:
        ratios: by which the frequencies of formants are multiplied.
        sample_rate: in Hz.
    """
    n_fft = 1 << round(math.log2(WINDOW_MS * sample_rate / 1000.0))
    window = torch.hann_window(n_fft, device=crops.device)
    spectrum = torch.stft(crops, n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True)
    envelope = compute_log_envelope(spectrum.abs(), round(LIFTER_MS * sample_rate / 1000.0))
    places = torch.arange(envelope.shape[1], device=crops.device) / ratios[:, None]
    gain = _interpolate_envelope(envelope, places) - envelope
    most = MAX_GAIN_DB * math.log(10.0) / 20.0
    return torch.istft(
        spectrum * gain.clamp(-most, most).exp(), n_fft, n_fft // 4, window=window, length=crops.shape[1]
    )


def compute_log_envelope(
    magnitudes: Float[Tensor, "crops frequencies frames"], num_coefficients: int
) -> Float[Tensor, "crops frequencies frames"]:
    """The logarithm of magnitudes, smoothed along frequency by keeping the first coefficients of its cepstrum."""
    cepstrum = torch.fft.irfft(magnitudes.clamp(min=MIN_MAGNITUDE).log(), dim=1)
    quefrency = torch.arange(cepstrum.shape[1], device=magnitudes.device)
    is_kept = torch.minimum(quefrency, cepstrum.shape[1] - quefrency) <= num_coefficients
    return torch.fft.rfft(cepstrum * is_kept[:, None], dim=1).real


def _interpolate_envelope(
    envelope: Float[Tensor, "crops frequencies frames"], places: Float[Tensor, "crops frequencies"]
) -> Float[Tensor, "crops frequencies frames"]:
    """The envelope at fractional frequencies, linearly; beyond the highest one, its value there."""
    places = places.clamp(max=envelope.shape[1] - 1)
    below = places.floor().to(torch.int64)
    above = (below + 1).clamp(max=envelope.shape[1] - 1)
    low, high = (envelope.gather(1, each[:, :, None].expand_as(envelope)) for each in (below, above))
    return torch.lerp(low, high, (places - below)[:, :, None].expand_as(envelope))
