"""A seven-band parametric equaliser with random gains."""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from singer_verify.data.augmentation.augmentation import scale_uniform
from singer_verify.errors import require_between

# Smallest and largest centre frequency of each band, from audiomentations' SevenBandParametricEQ.
BAND_CENTRES_HZ = ((42.5, 95), (91, 204), (196, 441), (421, 948), (909, 2045), (1957, 4404), (4216, 9486))
Q_RANGE = (0.5, 1.0)  # smallest and largest Q
MAX_RINGING_S = 0.25  # time for the lowest band to decay by 60 dB at the highest gain
MAX_RELATIVE_CENTRE = 0.47  # largest centre frequency, relative to the sample rate


class SevenBandEqualiser:
    """A low shelf, five peaks and a high shelf in series, imitating the sound of rooms, microphones and mixing desks.

    Gain in dB, centre frequency (on a logarithmic scale) and Q of each band are uniform. The filters are the
    second-order ones of Bristow-Johnson ("Cookbook formulae for audio EQ biquad filter coefficients"), applied by
    multiplication with their frequency response.

    Shape: crops (crops, samples), uniform (crops, 21) → (crops, samples).

    Args:
        p: probability that a crop is changed.
        min_gain_db: smallest gain of a band.
        max_gain_db: largest gain of a band.
    """

    num_draws, context_ratio = 3 * len(BAND_CENTRES_HZ), 1.0

    def __init__(self, p: float, min_gain_db: float, max_gain_db: float) -> None:
        require_between(0.0, 1.0, **{"equaliser.p": p})
        require_between(-30.0, 30.0, **{"equaliser.max_gain_db": max_gain_db})
        require_between(-30.0, max_gain_db, **{"equaliser.min_gain_db": min_gain_db})
        self.p, self.min_gain_db, self.max_gain_db = p, min_gain_db, max_gain_db

    def __call__(
        self, crops: Float[Tensor, "crops samples"], uniform: Float[Tensor, "crops 21"], sample_rate: int
    ) -> Float[Tensor, "crops samples"]:
        num_samples = crops.shape[1]
        gains, positions, qualities = uniform.unflatten(1, (3, len(BAND_CENTRES_HZ))).unbind(1)
        gains_db, quality = scale_uniform(self.min_gain_db, self.max_gain_db, gains), scale_uniform(*Q_RANGE, qualities)
        low, high = (torch.tensor(bounds, device=crops.device).log() for bounds in zip(*BAND_CENTRES_HZ, strict=True))
        centres_hz = (low + (high - low) * positions).exp().clamp(max=MAX_RELATIVE_CENTRE * sample_rate)
        n_fft = 1 << math.ceil(math.log2(num_samples + MAX_RINGING_S * sample_rate))
        response = compute_equaliser_response(gains_db, centres_hz / sample_rate, quality, n_fft)
        return torch.fft.irfft(torch.fft.rfft(crops, n_fft) * response, n_fft)[:, :num_samples]


def compute_equaliser_response(
    gains_db: Float[Tensor, "crops bands"],
    centres: Float[Tensor, "crops bands"],
    quality: Float[Tensor, "crops bands"],
    n_fft: int,
) -> Complex[Tensor, "crops frequencies"]:
    """Compute the frequency response of a low shelf, peaks and a high shelf in series.

    Args:
        gains_db: (crops, bands), at the centre of a peak and beyond a shelf; a shelf has half of it at its centre.
        centres: (crops, bands), relative to the sample rate.
        quality: (crops, bands), Q.
        n_fft: length of the transform whose `n_fft // 2 + 1` frequencies are evaluated.
    """
    delay = torch.exp(-2j * math.pi * torch.arange(n_fft // 2 + 1, device=centres.device) / n_fft)
    powers = torch.stack([torch.ones_like(delay), delay, delay**2], dim=1)
    response = torch.ones(len(centres), len(delay), dtype=powers.dtype, device=centres.device)
    for band in range(centres.shape[1]):
        amplitude, angle = 10.0 ** (gains_db[:, band] / 40.0), 2.0 * math.pi * centres[:, band]
        cosine, alpha = angle.cos(), angle.sin() / (2.0 * quality[:, band])
        if 0 < band < centres.shape[1] - 1:
            numerator, denominator = _compute_peak_coefficients(amplitude, cosine, alpha)
        else:
            numerator, denominator = _compute_shelf_coefficients(
                amplitude, cosine if band == 0 else -cosine, alpha, -1.0 if band == 0 else 1.0
            )
        response = response * (numerator.to(powers.dtype) @ powers.mT) / (denominator.to(powers.dtype) @ powers.mT)
    return response


def _compute_peak_coefficients(amplitude: Tensor, cosine: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coefficients (crops, 3) of a peak's numerator and denominator."""
    numerator = torch.stack([1 + alpha * amplitude, -2 * cosine, 1 - alpha * amplitude], dim=1)
    return numerator, torch.stack([1 + alpha / amplitude, -2 * cosine, 1 - alpha / amplitude], dim=1)


def _compute_shelf_coefficients(amplitude: Tensor, cosine: Tensor, alpha: Tensor, sign: float) -> tuple[Tensor, Tensor]:
    """Return the coefficients (crops, 3) of a low shelf's numerator and denominator, given `sign` -1.

    With the signs of `cosine` and `sign` reversed, they are those of a high shelf.
    """
    plus, minus, slope = amplitude + 1, amplitude - 1, 2 * amplitude.sqrt() * alpha
    numerator = [plus - minus * cosine + slope, -sign * 2 * (minus - plus * cosine), plus - minus * cosine - slope]
    denominator = [plus + minus * cosine + slope, sign * 2 * (minus + plus * cosine), plus + minus * cosine - slope]
    return amplitude[:, None] * torch.stack(numerator, dim=1), torch.stack(denominator, dim=1)
