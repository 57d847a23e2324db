"""Frequency and time masking of frames."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from singer_verify.errors import require_at_least, require_between


class SpecAugment:
    """Replaces whole bins and whole frames of a crop by the crop's mean.

    After Park et al. 2019, "SpecAugment: a simple data augmentation method for automatic speech recognition", section
    2, without time warping: a mask's width is uniform from 0 to its maximum, its place uniform among those that fit.

    Shape: features (crops, frames, bins), uniform (crops, numbers) → (crops, frames, bins).

    Args:
        p: probability that a crop is changed.
        num_frequency_masks: bands of bins.
        max_bins: widest of them.
        num_time_masks: stretches of frames.
        max_frames: longest of them.
        max_time_fraction: of a crop's frames, longest of them too.
    """

    def __init__(
        self,
        p: float,
        num_frequency_masks: int,
        max_bins: int,
        num_time_masks: int,
        max_frames: int,
        max_time_fraction: float,
    ) -> None:
        require_between(0.0, 1.0, **{"spec_augment.p": p, "spec_augment.max_time_fraction": max_time_fraction})
        counts = {"num_frequency_masks": num_frequency_masks, "num_time_masks": num_time_masks}
        widths = {"max_bins": max_bins, "max_frames": max_frames}
        require_at_least(0, **{f"spec_augment.{name}": value for name, value in (counts | widths).items()})
        self.p, self.num_frequency_masks, self.num_time_masks = p, num_frequency_masks, num_time_masks
        self.max_bins, self.max_frames, self.max_time_fraction = max_bins, max_frames, max_time_fraction
        self.num_draws = 2 * (num_frequency_masks + num_time_masks)

    def __call__(
        self, features: Float[Tensor, "crops frames bins"], uniform: Float[Tensor, "crops numbers"]
    ) -> Float[Tensor, "crops frames bins"]:
        _, num_frames, num_bins = features.shape
        of_bins, of_frames = uniform.split([2 * self.num_frequency_masks, 2 * self.num_time_masks], dim=1)
        longest = min(self.max_frames, int(self.max_time_fraction * num_frames))
        is_masked = draw_masks(of_bins, num_bins, min(self.max_bins, num_bins))[:, None, :]
        is_masked = is_masked | draw_masks(of_frames, num_frames, longest)[:, :, None]
        return torch.where(is_masked, features.float().mean(dim=(1, 2), keepdim=True).to(features.dtype), features)


def draw_masks(uniform: Float[Tensor, "crops numbers"], size: int, widest: int) -> Bool[Tensor, "crops size"]:
    """Which of `size` places are covered by masks of 0 to `widest` places, two random numbers for each."""
    widths, places = uniform.unflatten(1, (-1, 2)).unbind(2) if uniform.shape[1] else (uniform, uniform)
    width = (widths * (widest + 1)).floor()
    first = (places * (size - width + 1)).floor()
    place = torch.arange(size, device=uniform.device)
    return ((place >= first[:, :, None]) & (place < (first + width)[:, :, None])).any(dim=1)
