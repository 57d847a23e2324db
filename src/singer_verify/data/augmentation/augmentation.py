"""Augmentations one after another, each applied to the crops that it draws."""

import math
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from singer_verify.data.augmentation.random_draws import AugmentationDraw, draw_augmentation
from singer_verify.errors import SingerVerifyError


@runtime_checkable
class Augmenter(Protocol):
    """What all of them tell: the probability that a crop is changed, and how many random numbers that takes."""

    p: float
    num_draws: int


@runtime_checkable
class SampleAugmenter(Augmenter, Protocol):
    """Change samples, before frames are computed from them.

    Attributes:
        context_ratio: input length divided by valid output length; the invalid margins are cropped.
    """

    context_ratio: float

    def __call__(
        self, crops: Float[Tensor, "crops samples"], uniform: Float[Tensor, "crops numbers"], sample_rate: int
    ) -> Float[Tensor, "crops samples"]: ...


@runtime_checkable
class FrameAugmenter(Augmenter, Protocol):
    """Changes frames."""

    def __call__(
        self, features: Float[Tensor, "crops frames bins"], uniform: Float[Tensor, "crops numbers"]
    ) -> Float[Tensor, "crops frames bins"]: ...


class AugmentationChain:
    """What happens to training crops; validation never sees it.

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
        """Augmented crops, without the margins that they came with."""
        for (name, augmenter), margin in zip(self.samples.items(), self._compute_margins(num_samples), strict=True):
            chosen, uniform = draws[name]
            if len(chosen):
                changed = augmenter(crops.index_select(0, chosen), uniform, sample_rate)
                crops = crops.index_copy(0, chosen, changed)
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
        """What is cut off on either side after each augmentation of samples, so that `num_samples` are left."""
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
