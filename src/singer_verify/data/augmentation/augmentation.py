"""Augmentations in sequence, each applied to the crops that it draws as a pure function of (seed, step, crop)."""

import math
import zlib
from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from singer_verify.errors import SingerVerifyError

FIRST_AUGMENTATION_STREAM = 1 << 32  # the sampler's streams come before it
CROP_COUNTS = 40  # an augmentation is applied to one of about so many numbers of crops of a batch


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
        name: name of the augmentation.
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


def compute_rms(crops: Float[Tensor, "crops samples"]) -> Float[Tensor, "crops 1"]:
    """Compute the root mean square of each crop."""
    return torch.linalg.vector_norm(crops, dim=1, keepdim=True) / math.sqrt(crops.shape[1])


def find_fft_size(num_samples: int) -> int:
    """Return the smallest length from `num_samples` on that is a product of 2, 3 and 5, whose transform is fast."""
    from scipy.fft import next_fast_len

    return next_fast_len(num_samples, real=True)


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
    first, second = (keys * (1 << 24)).to(torch.int32)[:, :, None].unbind(1)
    index = torch.arange(2 * half, dtype=torch.int32, device=keys.device)
    # The hash's first step on small numbers is linear over bits, so it may come before they are combined.
    words = _finish_hash(_fold_bits(index, 16) ^ _fold_bits(first, 16))
    words = _finish_hash(_fold_bits(words.add_(second), 16))
    # A word of 2^31 or more is read as negative: `remainder` puts that right, and an angle is the same.
    uniform = torch.mul(words[:, :half], 2.0**-32).remainder_(1.0).add_(2.0**-33)
    radius = torch.special.xlogy(-2.0, uniform).sqrt_()
    angle = words[:, half:] * (2.0 * math.pi * 2.0**-32)
    noise = torch.empty_like(words, dtype=torch.float32)
    torch.mul(radius, angle.cos(), out=noise[:, :half])
    torch.mul(radius, angle.sin_(), out=noise[:, half:])
    return noise[:, :num_samples]


def _finish_hash(words: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Hash words, in place, so that each output bit depends on all input bits (Wellons 2018, "Prospecting for hash
    functions"), the first step of which, `_fold_bits(words, 16)`, was done.

    Products are taken modulo 2^32, as products of int32 are. The second factor is the published 0xd35a2d97 minus 2^32.
    """
    words = _fold_bits(words.mul_(0x21F0AAAD), 15)
    return _fold_bits(words.mul_(0xD35A2D97 - (1 << 32)), 15)


def _fold_bits(words: Int[Tensor, "*shape"], shift: int) -> Int[Tensor, "*shape"]:
    """Combine each word with its upper bits, in place."""
    upper = (words >> shift).bitwise_and_((1 << (32 - shift)) - 1)  # int32 is shifted with its sign
    return words.bitwise_xor_(upper)


@runtime_checkable
class Augmenter(Protocol):
    """Attributes of every augmentation: the probability of a change, and the number of random numbers per crop."""

    p: float
    num_draws: int


@runtime_checkable
class SampleAugmenter(Augmenter, Protocol):
    """An augmentation of samples, applied before frames are computed from them.

    Attributes:
        context_ratio: input length divided by valid output length; the invalid margins are cropped.
    """

    context_ratio: float

    def __call__(
        self, crops: Float[Tensor, "crops samples"], uniform: Float[Tensor, "crops numbers"], sample_rate: int
    ) -> Float[Tensor, "crops samples"]: ...


@runtime_checkable
class FrameAugmenter(Augmenter, Protocol):
    """An augmentation of frames."""

    def __call__(
        self, features: Float[Tensor, "crops frames bins"], uniform: Float[Tensor, "crops numbers"]
    ) -> Float[Tensor, "crops frames bins"]: ...


def _extend_draw(draw: AugmentationDraw, multiple: int) -> AugmentationDraw:
    """Repeat the last crop until the number of crops is a multiple.

    A GPU plans transforms, and sets memory aside, anew for each number of crops that it has not met.
    """
    num_repeated = -len(draw.crop_indices) % multiple
    if not num_repeated:
        return draw
    parts = ([part, part[-1:].expand(num_repeated, *part.shape[1:])] for part in draw)
    return AugmentationDraw(*(torch.cat(part) for part in parts))


class AugmentationChain:
    """The augmentations of training crops in sequence; validation data are never augmented.

    Args:
        samples: augmentations of samples by name, in their order.
        frames: augmentations of frames by name, in their order.
    """

    def __init__(self, samples: Mapping[str, SampleAugmenter], frames: Mapping[str, FrameAugmenter]) -> None:
        self.samples, self.frames = dict(samples), dict(frames)
        if shared := sorted(self.samples.keys() & self.frames.keys()):
            raise SingerVerifyError(
                f"augmentation: samples and frames both name {', '.join(shared)}; expected names of their own."
            )

    @property
    def is_empty(self) -> bool:
        return not self.samples and not self.frames

    def draw(self, seed: int, step: int, crops: range) -> dict[str, AugmentationDraw]:
        """Draw the random numbers for a range of the crops of batch `step`."""
        augmenters: dict[str, Augmenter] = {**self.samples, **self.frames}
        return {
            name: draw_augmentation(name, augmenter.p, augmenter.num_draws, (seed, step), crops)
            for name, augmenter in augmenters.items()
        }

    def compute_margin_samples(self, num_samples: int) -> int:
        """Return the additional samples needed on each side so that `num_samples` are valid after all augmentations."""
        return sum(self._compute_margins(num_samples))

    def augment_samples(
        self, crops: Float[Tensor, "crops wide"], draws: dict[str, AugmentationDraw], num_samples: int, sample_rate: int
    ) -> Float[Tensor, "crops num_samples"]:
        """Augment crops and cut off the margins that they came with; the crops given are left as they are."""
        is_copy = False
        for (name, augmenter), margin in zip(self.samples.items(), self._compute_margins(num_samples), strict=True):
            chosen = draws[name].crop_indices
            if len(chosen):
                extended = _extend_draw(draws[name], 1 + len(crops) // CROP_COUNTS)
                changed = augmenter(crops.index_select(0, extended.crop_indices), extended.uniform, sample_rate)
                changed = changed[: len(chosen)]
                crops = crops.index_copy_(0, chosen, changed) if is_copy else crops.index_copy(0, chosen, changed)
                is_copy = True
            crops = crops[:, margin : crops.shape[1] - margin]
        return crops

    def augment_frames(
        self, features: Float[Tensor, "crops frames bins"], draws: dict[str, AugmentationDraw]
    ) -> Float[Tensor, "crops frames bins"]:
        for name, augmenter in self.frames.items():
            chosen, uniform = draws[name]
            if len(chosen):
                features = features.index_copy(0, chosen, augmenter(features.index_select(0, chosen), uniform))
        return features

    def _compute_margins(self, num_samples: int) -> list[int]:
        """Compute the samples to cut off on either side after each augmentation so that `num_samples` are left."""
        margins: list[int] = []
        for augmenter in reversed(self.samples.values()):
            widened = (
                0
                if augmenter.context_ratio == 1.0
                else 16 + math.ceil((augmenter.context_ratio - 1.0) * num_samples / 2)
            )
            margins.insert(0, widened)
            num_samples += 2 * widened
        return margins


NO_AUGMENTATION = AugmentationChain({}, {})
