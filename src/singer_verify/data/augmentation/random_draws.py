"""Random numbers of augmentations: a pure function of (seed, step, crop)."""

import math
import zlib
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

FIRST_AUGMENTATION_STREAM = 1 << 32  # the sampler's kinds of decisions come before it


class AugmentationDraw(NamedTuple):
    """Which crops an augmentation is applied to, and its random numbers.

    Attributes:
        crop_indices: (chosen,), numbers of crops of a rank's part of the batch, rising.
        uniform: (chosen, numbers), in [0, 1).
    """

    crop_indices: Int[Tensor, " chosen"]
    uniform: Float[Tensor, "chosen numbers"]


def draw_augmentation(name: str, p: float, num_draws: int, position: tuple[int, int], crops: range) -> AugmentationDraw:
    """The draw of one augmentation for a stretch of a batch's crops.

    A crop's numbers are the same whichever stretch it is drawn with. Each name has a stream of its own (Philox: Salmon
    et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), so an augmentation more or less changes no other.

    Args:
        name: of the augmentation.
        p: probability that a crop is chosen.
        num_draws: numbers that the augmentation takes.
        position: seed and step.
        crops: numbers of the crops in the batch of all ranks.
    """
    seed, step = position
    kind = FIRST_AUGMENTATION_STREAM + zlib.crc32(name.encode())
    generator = np.random.Generator(np.random.Philox(key=[seed, kind], counter=[0, 0, 0, step]))
    uniform = generator.random((crops.stop, num_draws + 1), np.float32)[crops.start :]
    chosen = np.flatnonzero(uniform[:, 0] < p)
    return AugmentationDraw(torch.from_numpy(chosen), torch.from_numpy(uniform[chosen, 1:]))


def scale_uniform(low: float, high: float, uniform: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return low + (high - low) * uniform


def generate_gaussian_noise(keys: Float[Tensor, "crops 2"], num_samples: int) -> Float[Tensor, "crops num_samples"]:
    """White noise of unit variance, each row a function of its two keys in [0, 1) alone.

    Sample i is a hash of (keys, i), so no generator's state is needed and devices agree but for the rounding of
    logarithm and cosine. Uniform numbers become normal by Box and Muller (1958, "A note on the generation of random
    normal deviates").
    """
    half = -(-num_samples // 2)
    first, second = ((keys * (1 << 24)).to(torch.int64)[:, :, None]).unbind(1)
    index = torch.arange(2 * half, device=keys.device)
    uniform = ((_hash_words(_hash_words(index ^ first) + second) + 0.5) / 4294967296.0).to(torch.float32)
    radius = (-2.0 * uniform[:, :half].clamp(min=2.0**-33).log()).sqrt()
    angle = 2.0 * math.pi * uniform[:, half:]
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :num_samples]


def _hash_words(words: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """32 bits scrambled so that each depends on all (Wellons 2018, "Prospecting for hash functions").

    The second factor is the published 0xd35a2d97 less 2^32: the same modulo 2^32, and no product leaves 64 bits.
    """
    words = words & 0xFFFFFFFF
    words = words ^ (words >> 16)
    words = (words * 0x21F0AAAD) & 0xFFFFFFFF
    words = words ^ (words >> 15)
    words = (words * (0xD35A2D97 - (1 << 32))) & 0xFFFFFFFF
    return words ^ (words >> 15)
