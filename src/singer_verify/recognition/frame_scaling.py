"""The normalisation of frames in torch operations."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from singer_verify.features.normalisation import GLOBAL, SAME_VALUE, Normalisation


class FrameScaling(nn.Module):
    """`Normalisation.normalised` for a batch of recordings of one length, each by its own figures.

    Figures are taken in double precision, frames are scaled in single, as there.

    Shape: (recordings, frames, bins) → the same.

    Args:
        normalisation: with the figures of the training split, if it needs them.

    Raises:
        SingerVerifyError: it needs them, and they are not known.
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        self.name = normalisation.name
        if self.name in GLOBAL:
            scaling = normalisation.scaling(np.zeros((0, 0)), np.zeros(2, np.int64))  # the recording decides nothing
            for name, figures in scaling._asdict().items():
                self.register_buffer(name, torch.from_numpy(figures.astype(np.float32)), persistent=False)

    def forward(self, frames: Float[Tensor, "recordings frames bins"]) -> Float[Tensor, "recordings frames bins"]:
        if self.name == "none":
            return frames
        if self.name in GLOBAL:
            return (frames - self.offset) / self.scale
        level, spread = self._figures(frames.double())
        divisor = torch.where(spread <= SAME_VALUE * level.abs(), 1.0, spread)
        return (frames - level.float()) / divisor.float()

    def _figures(
        self, frames: Float[Tensor, "recordings frames bins"]
    ) -> tuple[Float[Tensor, "recordings 1 width"], Float[Tensor, "recordings 1 width"]]:
        """What is subtracted, and what is divided by."""
        if self.name == "utterance_zero_one":
            lowest = frames.amin(dim=(1, 2), keepdim=True)
            return lowest, frames.amax(dim=(1, 2), keepdim=True) - lowest
        over = (1,) if self.name == "utterance_bins" else (1, 2)
        mean = frames.mean(dim=over, keepdim=True)
        return mean, (frames - mean).square().mean(dim=over, keepdim=True).sqrt()
