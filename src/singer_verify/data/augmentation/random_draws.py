"""Random numbers of augmentations, as a pure function of (seed, step, crop)."""

import math
import zlib
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

FIRST_AUGMENTATION_STREAM = 1 << 32  # the sampler's streams come before it


class AugmentationDraw(NamedTuple):
    """The crops an augmentation is applied to, and its random numbers.

    Attributes:
        crop_indices: (chosen,), indices into this rank's part of the batch, ascending.
        uniform: (chosen, numbers), in [0, 1).
    """

    crop_indices: Int[Tensor, " chosen"]
    uniform: Float[Tensor, "chosen numbers"]


def draw_augmentation(name: str, p: float, num_draws: int, position: tuple[int, int], crops: range) -> AugmentationDraw:
    """Draw one augmentation's crops and random numbers for consecutive crops of a batch.

    A crop's numbers do not depend on the other crops in the range. Each name has its own stream (Philox: Salmon et al.
    2011, "Parallel random numbers: as easy as 1, 2, 3"), so adding or removing an augmentation does not change the
    others.

    Args:
        name: of the augmentation.
        p: probability that a crop is changed.
        num_draws: random numbers per crop.
        position: seed and step.
        crops: range of crop indices in the batch of all ranks.
    """
    seed, step = position
    kind = FIRST_AUGMENTATION_STREAM + zlib.crc32(name.encode())
    generator = np.random.Generator(np.random.Philox(key=[seed, kind], counter=[0, 0, 0, step]))
    uniform = generator.random((crops.stop, num_draws + 1), np.float32)[crops.start :]
    selected = np.flatnonzero(uniform[:, 0] < p)
    return AugmentationDraw(torch.from_numpy(selected), torch.from_numpy(uniform[selected, 1:]))


def scale_uniform(low: float, high: float, uniform: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Scale numbers in [0, 1) to [low, high)."""
    return low + (high - low) * uniform


def generate_gaussian_noise(keys: Float[Tensor, "crops 2"], num_samples: int) -> Float[Tensor, "crops num_samples"]:
    """Generate white noise of unit variance, each row determined by its two keys in [0, 1).

    Sample i is a hash of (keys, i), so no generator state is needed, and devices agree up to rounding of logarithm and
    cosine. Uniform numbers are made normal as in Box and Muller (1958, "A note on the generation of random normal
    deviates").

    Args:
        keys: (crops, 2).
        num_samples: per row.
    """
    half = -(-num_samples // 2)
    first, second = ((keys * (1 << 24)).to(torch.int64)[:, :, None]).unbind(1)
    index = torch.arange(2 * half, device=keys.device)
    uniform = ((_hash_words(_hash_words(index ^ first) + second) + 0.5) / 4294967296.0).to(torch.float32)
    radius = (-2.0 * uniform[:, :half].clamp(min=2.0**-33).log()).sqrt()
    angle = 2.0 * math.pi * uniform[:, half:]
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :num_samples]


def _hash_words(words: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Hash 32-bit words so that each output bit depends on all input bits (Wellons 2018, "Prospecting for hash
    functions").

    The second factor is the published 0xd35a2d97 minus 2^32: equal modulo 2^32, and no product overflows 64 bits.
    """
    words = words & 0xFFFFFFFF
    words = words ^ (words >> 16)
    words = (words * 0x21F0AAAD) & 0xFFFFFFFF
    words = words ^ (words >> 15)
    words = (words * (0xD35A2D97 - (1 << 32))) & 0xFFFFFFFF
    return words ^ (words >> 15)
