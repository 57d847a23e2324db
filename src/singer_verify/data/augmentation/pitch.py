"""Shift of pitch with formants kept in place."""

import functools
import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from singer_verify.data.augmentation.augmentation import scale_uniform
from singer_verify.data.augmentation.formants import shift_formants
from singer_verify.errors import require_between

SINC_HALF_TAPS = 16  # samples on each side used to interpolate between samples
BLOCK_SAMPLES = 16  # computed by one product of matrices
NUM_FRACTIONS = 8  # fractions of a sample that others are interpolated from


class PitchShift:
    """Play a crop faster or slower and shift its formants back, so that only f0 and tempo change, by the same ratio.

    The shift in semitones is uniform. The tempo is not restored: a phase vocoder would smear consonants and vibrato,
    and crops have a fixed length anyway; at 2 semitones a crop covers 12 % more or less of the song.

    Shape: crops (crops, samples), uniform (crops, 1) → (crops, samples). Where an upward shift reads beyond a crop's
    ends, the crop is reflected; these outermost samples have to be cropped, see `context_ratio`.

    Args:
        p: probability that a crop is changed.
        min_semitones: largest downward shift, as a negative number.
        max_semitones: largest upward shift.
    """

    num_draws = 1

    def __init__(self, p: float, min_semitones: float, max_semitones: float) -> None:
        require_between(0.0, 1.0, **{"pitch.p": p})
        require_between(-12.0, 12.0, **{"pitch.max_semitones": max_semitones})
        require_between(-12.0, max_semitones, **{"pitch.min_semitones": min_semitones})
        self.p, self.semitones = p, (min_semitones, max_semitones)
        self.context_ratio = max(1.0, 2.0 ** (max_semitones / 12.0))

    def __call__(
        self, crops: Float[Tensor, "crops samples"], uniform: Float[Tensor, "crops 1"], sample_rate: int
    ) -> Float[Tensor, "crops samples"]:
        # In double precision, as 2^-24 of the ratio would move the ends of a crop, and devices round differently.
        ratios = 2.0 ** (scale_uniform(*self.semitones, uniform[:, 0]).double() / 12.0)
        played = change_speed(crops, ratios, self.context_ratio)
        return shift_formants(played, (1.0 / ratios).float(), sample_rate)


def change_speed(
    crops: Float[Tensor, "crops samples"], ratios: Float[Tensor, " crops"], max_ratio: float = 2.0
) -> Float[Tensor, "crops samples"]:
    """Play crops `ratios` times as fast around their centre, reflected at the ends; pitch and formants shift together.

    Band-limited interpolation with a windowed sinc whose cutoff avoids aliasing (Smith and Gossett 1984, "A flexible
    sampling-rate conversion method").

    A block of a few samples is a matrix times the samples around it. The matrix depends on the crop's ratio and on the
    fraction of a sample at which the block starts, but smoothly: the matrices of a few fractions are applied to all
    blocks, and their results interpolated after Lagrange, with an error below 1e-5.

    Args:
        crops: (crops, samples).
        ratios: (crops,), in double precision where a crop's ends matter.
        max_ratio: bound of `ratios`.
    """
    num_samples, device = crops.shape[1], crops.device
    ratios = ratios[:, None]
    starts = torch.arange(0, num_samples, BLOCK_SAMPLES, device=device)
    displacement = (starts - (num_samples - 1) / 2) * (ratios - 1.0)  # (crops, blocks)
    whole = displacement.floor()
    fraction = (displacement - whole).float()
    # From the first to the last sample that a block starting at fraction 0 to 1 depends on.
    span = 2 * SINC_HALF_TAPS + math.ceil((BLOCK_SAMPLES - 1) * max_ratio)
    reach = math.ceil((num_samples - 1) / 2 * max(max_ratio - 1.0, 0.0)) + span + BLOCK_SAMPLES
    padded = crops.index_select(1, _build_reflection(num_samples, reach, device))
    first = starts + whole.to(torch.int64) + (reach + 1 - SINC_HALF_TAPS)
    first += torch.arange(0, padded.numel(), padded.shape[1], device=device)[:, None]
    neighbours = padded.flatten().unfold(0, span, 1)[first]  # (crops, blocks, span)
    weights = _compute_sinc_weights(ratios.float(), span)
    at_nodes = (neighbours @ weights).unflatten(2, (NUM_FRACTIONS, BLOCK_SAMPLES))
    shares = _compute_shares(fraction)
    return at_nodes.mul_(shares[..., None]).sum(dim=2).flatten(1)[:, :num_samples]


def _compute_sinc_weights(ratios: Float[Tensor, "crops 1"], span: int) -> Float[Tensor, "crops span outputs"]:
    """Compute the weights of neighbouring samples in each sample of a block that starts at one of the fractions."""
    fractions = _place_fractions(ratios.device)[0][:, None]
    places = (fractions + ratios[:, :, None] * torch.arange(BLOCK_SAMPLES, device=ratios.device)).flatten(1)
    samples = torch.arange(1 - SINC_HALF_TAPS, span + 1 - SINC_HALF_TAPS, device=ratios.device)
    distance = samples[:, None] - places[:, None, :]
    cutoff = (1.0 / ratios).clamp(max=1.0)[:, :, None]
    window = 0.5 + 0.5 * (distance.clamp(-SINC_HALF_TAPS, SINC_HALF_TAPS) * (math.pi / SINC_HALF_TAPS)).cos_()
    return window.mul_(torch.sinc(cutoff * distance)).mul_(cutoff)


def _compute_shares(fraction: Float[Tensor, "crops blocks"]) -> Float[Tensor, "crops blocks fractions"]:
    """Compute the shares of the fractions in an interpolation at other fractions, by Chebyshev polynomials."""
    angle = (2.0 * fraction - 1.0).acos_()[..., None]
    polynomials = (angle * torch.arange(NUM_FRACTIONS, device=fraction.device)).cos_()
    return polynomials @ _place_fractions(fraction.device)[1]


@functools.lru_cache(maxsize=8)
def _place_fractions(device: torch.device) -> tuple[Float[Tensor, " fractions"], Float[Tensor, "degrees fractions"]]:
    """Return Chebyshev's points between 0 and 1, and the matrix from his polynomials to each point's share."""
    angles = np.pi * (np.arange(NUM_FRACTIONS) + 0.5) / NUM_FRACTIONS
    shares = 2.0 / NUM_FRACTIONS * np.cos(np.arange(NUM_FRACTIONS)[:, None] * angles)
    shares[0] /= 2.0
    points = (1.0 + np.cos(angles)) / 2.0
    return torch.from_numpy(points).to(device, torch.float32), torch.from_numpy(shares).to(device, torch.float32)


@functools.lru_cache(maxsize=8)
def _build_reflection(num_samples: int, reach: int, device: torch.device) -> Int[Tensor, " reflected"]:
    """Return which sample each of a crop's samples is, and of `reach` samples before it and after it."""
    last = num_samples - 1
    positions = torch.arange(-reach, num_samples + reach)
    return ((positions + last) % (2 * last) - last).abs().to(device)
