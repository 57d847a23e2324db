"""Silence in a random stretch of a crop."""

import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.data.augmentation.random_draws import scale_uniform
from singer_verify.errors import require_between

FADE_MS = 5.0  # into silence and out of it, so that no click is heard


class TimeMasking:
    """Silences a stretch of samples, uniform in length and place; the fades of 5 ms lie outside it.

    Shape: crops (crops, samples), uniform (crops, 2) → (crops, samples).

    Args:
        p: probability that a crop is changed.
        min_width_ms: of the silence.
        max_width_ms: of the silence; a crop that is shorter is silenced whole.
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
        place = torch.arange(num_samples, device=crops.device)
        outside = torch.maximum(first - place, place - (first + width - 1)).clamp(min=0)
        return crops * torch.where(width > 0, (outside * 1000.0 / (FADE_MS * sample_rate)).clamp(max=1.0), 1.0)
