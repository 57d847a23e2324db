"""Frequency and time masking of frames (SpecAugment)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from singer_verify.errors import require_at_least, require_between


class SpecAugment:
    """Replace random bands of bins and ranges of frames by the crop's mean.

    After Park et al. 2019, "SpecAugment: a simple data augmentation method for automatic speech recognition", section
    2, without time warping: a mask's width is uniform from 0 to its maximum, its position uniform among those that fit.

    Shape: features (crops, frames, bins), uniform (crops, numbers) → (crops, frames, bins).

    Args:
        p: probability that a crop is changed.
        num_frequency_masks: number of masked bands.
        max_bins: largest width of a band.
        num_time_masks: number of masked ranges of frames.
        max_frames: largest length of a range.
        max_time_fraction: largest length of a range as a fraction of the crop.
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
        bin_draws, frame_draws = uniform.split([2 * self.num_frequency_masks, 2 * self.num_time_masks], dim=1)
        max_width = min(self.max_frames, int(self.max_time_fraction * num_frames))
        is_masked = draw_masks(bin_draws, num_bins, min(self.max_bins, num_bins))[:, None, :]
        is_masked = is_masked | draw_masks(frame_draws, num_frames, max_width)[:, :, None]
        return torch.where(is_masked, features.float().mean(dim=(1, 2), keepdim=True).to(features.dtype), features)


def draw_masks(uniform: Float[Tensor, "crops numbers"], size: int, max_width: int) -> Bool[Tensor, "crops size"]:
    """Draw masks of 0 to `max_width` positions, and return which of `size` positions are masked.

    Args:
        uniform: (crops, 2 × masks), width and position of each mask.
        size: number of positions.
        max_width: largest width of a mask.
    """
    widths, positions = uniform.unflatten(1, (-1, 2)).unbind(2) if uniform.shape[1] else (uniform, uniform)
    width = (widths * (max_width + 1)).floor()
    first = (positions * (size - width + 1)).floor()
    position = torch.arange(size, device=uniform.device)
    return ((position >= first[:, :, None]) & (position < (first + width)[:, :, None])).any(dim=1)
