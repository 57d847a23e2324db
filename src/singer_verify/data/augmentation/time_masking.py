"""Masking of a random range of samples with silence."""

import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.data.augmentation.augmentation import scale_uniform
from singer_verify.errors import require_between

FADE_MS = 5.0  # into and out of silence, to avoid clicks


class TimeMasking:
    """Silence a range of samples with uniform length and position; fades of 5 ms lie outside the range.

    Shape: crops (crops, samples), uniform (crops, 2) → (crops, samples).

    Args:
        p: probability that a crop is changed.
        min_width_ms: shortest silence.
        max_width_ms: longest silence; limited to the length of the crop.
    """

    num_draws, context_ratio = 2, 1.0

    def __init__(self, p: float, min_width_ms: float, max_width_ms: float) -> None:
        require_between(0.0, 1.0, **{"time_masking.p": p})
        require_between(0.0, 60_000.0, **{"time_masking.max_width_ms": max_width_ms})
        require_between(0.0, max_width_ms, **{"time_masking.min_width_ms": min_width_ms})
        self.p, self.width_ms = p, (min_width_ms, max_width_ms)

    def __call__(
        self, crops: Float[Tensor, "crops samples"], uniform: Float[Tensor, "crops 2"], sample_rate: int
    ) -> Float[Tensor, "crops samples"]:
        num_samples = crops.shape[1]
        width = (scale_uniform(*self.width_ms, uniform[:, :1]) * sample_rate / 1000.0).round().clamp(max=num_samples)
        first = ((num_samples - width + 1) * uniform[:, 1:]).floor()
        position = torch.arange(num_samples, device=crops.device)
        outside = torch.maximum(first - position, position - (first + width - 1)).clamp(min=0)
        return crops * torch.where(width > 0, (outside * 1000.0 / (FADE_MS * sample_rate)).clamp(max=1.0), 1.0)
