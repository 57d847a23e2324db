"""A seven-band parametric equaliser with random gains."""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from singer_verify.data.augmentation.random_draws import scale_uniform
from singer_verify.errors import require_between

# Lowest and highest centre of each band in Hz: those of audiomentations' SevenBandParametricEQ.
BAND_CENTRES_HZ = ((42.5, 95), (91, 204), (196, 441), (421, 948), (909, 2045), (1957, 4404), (4216, 9486))
Q_RANGE = (0.5, 1.0)  # least and greatest Q
MAX_RINGING_S = 0.25  # after which the lowest band at the highest gain is 60 dB down
MAX_RELATIVE_CENTRE = 0.47  # centre of a band, of the sample rate


class SevenBandEqualiser:
    """A low shelf, five peaks and a high shelf one after another, as a room, a microphone or a mixing desk colours.

    Gain in dB, centre (on a logarithmic scale, within the band's range) and Q of each band are uniform. The filters
    are the second-order ones of Bristow-Johnson ("Cookbook formulae for audio EQ biquad filter coefficients"), applied
    as a product with their frequency response.

    Shape: crops (crops, samples), uniform (crops, 21) → (crops, samples).

    Args:
        p: probability that a crop is changed.
        min_gain_db: of a band.
        max_gain_db: of a band.
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
        gains, places, qualities = uniform.unflatten(1, (3, len(BAND_CENTRES_HZ))).unbind(1)
        gains_db, quality = scale_uniform(self.min_gain_db, self.max_gain_db, gains), scale_uniform(*Q_RANGE, qualities)
        lowest, highest = (torch.tensor(each, device=crops.device).log() for each in zip(*BAND_CENTRES_HZ, strict=True))
        centres_hz = (lowest + (highest - lowest) * places).exp().clamp(max=MAX_RELATIVE_CENTRE * sample_rate)
        n_fft = 1 << math.ceil(math.log2(num_samples + MAX_RINGING_S * sample_rate))
        response = compute_equaliser_response(gains_db, centres_hz / sample_rate, quality, n_fft)
        return torch.fft.irfft(torch.fft.rfft(crops, n_fft) * response, n_fft)[:, :num_samples]


def compute_equaliser_response(
    gains_db: Float[Tensor, "crops bands"],
    centres: Float[Tensor, "crops bands"],
    quality: Float[Tensor, "crops bands"],
    n_fft: int,
) -> Complex[Tensor, "crops frequencies"]:
    """Frequency response of a low shelf, peaks and a high shelf in series.

    Args:
        gains_db: at the centre of a peak, and beyond a shelf; a shelf has half of it at its centre.
        centres: of the sample rate.
        quality: Q.
        n_fft: of the transform whose `n_fft // 2 + 1` frequencies are asked for.
    """
    delay = torch.exp(-2j * math.pi * torch.arange(n_fft // 2 + 1, device=centres.device) / n_fft)
    powers = torch.stack([torch.ones_like(delay), delay, delay**2], dim=1)
    response = torch.ones(len(centres), len(delay), dtype=powers.dtype, device=centres.device)
    for band in range(centres.shape[1]):
        amplitude, angle = 10.0 ** (gains_db[:, band] / 40.0), 2.0 * math.pi * centres[:, band]
        cosine, alpha = angle.cos(), angle.sin() / (2.0 * quality[:, band])
        if 0 < band < centres.shape[1] - 1:
            above, below = _compute_peak_coefficients(amplitude, cosine, alpha)
        else:
            above, below = _compute_shelf_coefficients(
                amplitude, cosine if band == 0 else -cosine, alpha, -1.0 if band == 0 else 1.0
            )
        response = response * (above.to(powers.dtype) @ powers.mT) / (below.to(powers.dtype) @ powers.mT)
    return response


def _compute_peak_coefficients(amplitude: Tensor, cosine: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients (crops, 3) of numerator and denominator."""
    above = torch.stack([1 + alpha * amplitude, -2 * cosine, 1 - alpha * amplitude], dim=1)
    return above, torch.stack([1 + alpha / amplitude, -2 * cosine, 1 - alpha / amplitude], dim=1)


def _compute_shelf_coefficients(amplitude: Tensor, cosine: Tensor, alpha: Tensor, sign: float) -> tuple[Tensor, Tensor]:
    """Coefficients of a low shelf (sign -1); with the cosine's sign and `sign` reversed, of a high shelf."""
    more, less, slope = amplitude + 1, amplitude - 1, 2 * amplitude.sqrt() * alpha
    above = [more - less * cosine + slope, -sign * 2 * (less - more * cosine), more - less * cosine - slope]
    below = [more + less * cosine + slope, sign * 2 * (less + more * cosine), more + less * cosine - slope]
    return amplitude[:, None] * torch.stack(above, dim=1), torch.stack(below, dim=1)
