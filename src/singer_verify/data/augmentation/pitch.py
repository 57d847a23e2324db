"""Shift of pitch with formants kept in place."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.data.augmentation.augmentation import scale_uniform
from singer_verify.data.augmentation.formants import shift_formants
from singer_verify.errors import require_between

SINC_HALF_TAPS = 16  # samples on each side used to interpolate between samples


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
        ratios = 2.0 ** (scale_uniform(*self.semitones, uniform[:, 0]) / 12.0)
        return shift_formants(change_speed(crops, ratios), 1.0 / ratios, sample_rate)


def change_speed(
    crops: Float[Tensor, "crops samples"], ratios: Float[Tensor, " crops"]
) -> Float[Tensor, "crops samples"]:
    """Play crops `ratios` times as fast around their centre, reflected at the ends; pitch and formants shift together.

    Band-limited interpolation with a windowed sinc whose cutoff avoids aliasing (Smith and Gossett 1984, "A flexible
    sampling-rate conversion method").

    Args:
        crops: (crops, samples).
        ratios: (crops,).
    """
    last = crops.shape[1] - 1
    middle = last / 2
    position = torch.arange(last + 1, device=crops.device)
    # The displacement is small compared with the position to read, so float32 is precise enough.
    displacement = (position - middle) * (ratios[:, None] - 1.0)
    fraction = displacement - displacement.floor()
    nearest = position + displacement.floor().to(torch.int64)
    cutoff = (1.0 / ratios).clamp(max=1.0)[:, None]
    total = torch.zeros_like(crops)
    for tap in range(1 - SINC_HALF_TAPS, SINC_HALF_TAPS + 1):
        distance = tap - fraction
        weight = cutoff * torch.sinc(cutoff * distance) * (0.5 + 0.5 * torch.cos(math.pi * distance / SINC_HALF_TAPS))
        index = ((nearest + tap + last) % (2 * last) - last).abs()
        total += weight * crops.gather(1, index)
    return total
