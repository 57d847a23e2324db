"""A seven-band parametric equaliser with random gains."""

import functools
import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from singer_verify.data.augmentation.augmentation import find_fft_size, scale_uniform
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
        low, high = _log_band_centres(crops.device)
        centres_hz = (low + (high - low) * positions).exp().clamp(max=MAX_RELATIVE_CENTRE * sample_rate)
        n_fft = find_fft_size(num_samples + round(MAX_RINGING_S * sample_rate))
        response = compute_equaliser_response(gains_db, centres_hz, quality, n_fft, sample_rate)
        return torch.fft.irfft(torch.fft.rfft(crops, n_fft).mul_(response), n_fft)[:, :num_samples]


def compute_equaliser_response(
    gains_db: Float[Tensor, "crops 7"],
    centres_hz: Float[Tensor, "crops 7"],
    quality: Float[Tensor, "crops 7"],
    n_fft: int,
    sample_rate: int,
) -> Complex[Tensor, "crops frequencies"]:
    """Compute the frequency response of a low shelf, five peaks and a high shelf in series.

    Up to a delay that cancels, numerator and denominator of a second-order filter are a + b s + j c sin(w) at the
    frequency w, with s = sin(w / 2)^2. A product of seven of them is P(s) + j Q(s) sin(w), with polynomials P and Q of
    degree 7 and 6 at most. It is computed at eight values of s only; one matrix takes it from there to all frequencies.

    Args:
        gains_db: (crops, 7), at the centre of a peak and beyond a shelf; a shelf has half of it at its centre.
        centres_hz: (crops, 7), near `BAND_CENTRES_HZ`: the farther away, the less precise.
        quality: (crops, 7), Q.
        n_fft: length of the transform whose `n_fft // 2 + 1` frequencies are evaluated.
        sample_rate: sample rate in Hz.
    """
    nodes = _place_nodes(sample_rate, centres_hz.device)
    terms = _compute_band_terms(10.0 ** (gains_db / 40.0), centres_hz / sample_rate, quality)
    real = (terms[..., 0:1] + terms[..., 1:2] * nodes.s) / nodes.scale
    products = torch.complex(real, terms[..., 2:3] * nodes.sine / nodes.scale)  # (2, crops, 7, nodes)
    products = products[..., :4, :] * torch.nn.functional.pad(products[..., 4:, :], (0, 0, 0, 1), value=1.0)
    products = products[..., :2, :] * products[..., 2:, :]
    products = products[..., 0, :] * products[..., 1, :]
    at_nodes = torch.view_as_real(products).flatten(-2)  # (2, crops, 2 × nodes)
    at_frequencies = at_nodes @ _build_interpolation(sample_rate, n_fft, centres_hz.device)
    numerator, denominator = torch.view_as_complex(at_frequencies.unflatten(-1, (-1, 2)))
    return numerator.div_(denominator)


def _compute_band_terms(
    amplitude: Float[Tensor, "crops 7"], centres: Float[Tensor, "crops 7"], quality: Float[Tensor, "crops 7"]
) -> Float[Tensor, "2 crops 7 3"]:
    """Compute the a, b and c of numerator and denominator of each band, see `compute_equaliser_response`.

    Args:
        amplitude: square root of the linear gain.
        centres: relative to the sample rate.
        quality: Q.
    """
    sine, cosine = (math.pi * centres).sin(), (math.pi * centres).cos()
    centre, half_alpha = sine.square(), 0.5 * sine * cosine / quality  # alpha as in the cookbook
    ones = torch.ones_like(centre)
    numerator = torch.stack([centre, -ones, half_alpha * amplitude], dim=-1)
    denominator = torch.stack([centre, -ones, half_alpha / amplitude], dim=-1)
    ends = slice(None, None, centre.shape[1] - 1)
    amplitude, centre, slope = amplitude[:, ends], centre[:, ends], (amplitude.sqrt() * half_alpha)[:, ends]
    above = torch.stack([amplitude * centre, -1.0 - (amplitude - 1.0) * centre, slope], dim=-1)
    below = torch.stack([centre, (amplitude - 1.0) * centre - amplitude, slope], dim=-1)
    gain = amplitude[:, :, None]
    numerator[:, 0], denominator[:, 0] = gain[:, 0] * above[:, 0], below[:, 0]
    numerator[:, -1], denominator[:, -1] = gain[:, 1] * below[:, 1], above[:, 1]
    return torch.stack([numerator, denominator])


class InterpolationNodes(NamedTuple):
    """Values of s = sin(w / 2)^2 between those at the bands' usual centres.

    Attributes:
        s: (nodes,).
        sine: (nodes,), sin(w).
        scale: (7, nodes), about as large as a band's numerator and denominator.
    """

    s: Float[Tensor, " nodes"]
    sine: Float[Tensor, " nodes"]
    scale: Float[Tensor, "7 nodes"]


def _place_usual_bands(sample_rate: int) -> tuple[Float[np.ndarray, " 7"], Float[np.ndarray, " 8"]]:
    """Return s at the usual centres of the bands, and the nodes: one below them, one above, the others between."""
    centres = np.minimum(np.sqrt(np.prod(BAND_CENTRES_HZ, axis=1)) / sample_rate, MAX_RELATIVE_CENTRE)
    bands = np.sin(np.pi * centres) ** 2
    return bands, np.array([0.1 * bands[0], *np.sqrt(bands[1:] * bands[:-1]), (1.0 + bands[-1]) / 2.0])


@functools.lru_cache(maxsize=8)
def _place_nodes(sample_rate: int, device: torch.device) -> InterpolationNodes:
    bands, nodes = _place_usual_bands(sample_rate)
    values = nodes, 2.0 * np.sqrt(nodes * (1.0 - nodes)), nodes + bands[:, None]
    return InterpolationNodes(*(torch.from_numpy(value).to(device, torch.float32) for value in values))


@functools.lru_cache(maxsize=8)
def _build_interpolation(
    sample_rate: int, n_fft: int, device: torch.device
) -> Float[Tensor, "parts_at_nodes parts_at_frequencies"]:
    """Build the matrix from (real, imaginary) at each node to (real, imaginary) at each frequency of a transform.

    The polynomials are interpolated after Lagrange, as multiples of `InterpolationNodes.scale`, which cancels in the
    quotient of numerator and denominator and keeps all numbers near one.
    """
    bands, nodes = _place_usual_bands(sample_rate)
    angles = 2.0 * np.pi * np.arange(n_fft // 2 + 1) / n_fft
    s = np.sin(angles / 2.0) ** 2
    matrix = np.zeros((len(nodes), 2, len(s), 2), np.float32)
    for row, node in enumerate(nodes):
        others = np.delete(nodes, row)[:, None]
        weights = np.prod((s - others) / (node - others) * (node + bands[:, None]) / (s + bands[:, None]), axis=0)
        matrix[row, 0, :, 0] = weights
        matrix[row, 1, :, 1] = weights * np.sin(angles) / (2.0 * np.sqrt(node * (1.0 - node)))
    return torch.from_numpy(matrix.reshape(2 * len(nodes), -1)).to(device)


@functools.lru_cache(maxsize=8)
def _log_band_centres(device: torch.device) -> tuple[Float[Tensor, " 7"], Float[Tensor, " 7"]]:
    low, high = (torch.tensor(bounds, device=device).log() for bounds in zip(*BAND_CENTRES_HZ, strict=True))
    return low, high
