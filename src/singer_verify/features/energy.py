"""Log energy per frame: one bin."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from singer_verify.errors import require_at_least, require_between
from singer_verify.features.feature import compute_hop_samples, require_one_frame


class Energy(nn.Module):
    """Natural logarithm of the mean square of a frame's samples (The HTK Book 3.4, section 5.8, per sample).

    Shape: samples (..., samples) → (..., frames, 1), frames = 1 + samples // hop, centred, zeros beyond the edges.
    Raises UtteranceError for an utterance shorter than a frame.

    Args:
        sample_rate: sample rate of the input, in Hz.
        frame_ms: frame length.
        hop_ms: hop between frames; must be a whole number of samples.
        floor_db: lower limit of the levels, relative to full scale.
    """

    num_bins = 1

    def __init__(
        self, sample_rate: int = 16_000, frame_ms: float = 25.0, hop_ms: float = 10.0, floor_db: float = -100.0
    ) -> None:
        super().__init__()
        require_at_least(1, sample_rate=sample_rate)
        require_between(1.0, 1000.0, frame_ms=frame_ms)
        require_between(-300.0, -1.0, floor_db=floor_db)
        self.sample_rate, self.frame_ms, self.hop_ms = sample_rate, float(frame_ms), float(hop_ms)
        self.floor_db = float(floor_db)
        self.frame_samples = round(frame_ms * sample_rate / 1000)
        self.hop_samples = compute_hop_samples(hop_ms, sample_rate)

    @property
    def bandwidth_hz(self) -> float:
        return self.sample_rate / 2

    @property
    def recipe(self) -> dict[str, Any]:
        names = ("sample_rate", "frame_ms", "hop_ms", "floor_db")
        return {"_target_": f"{__name__}.Energy"} | {name: getattr(self, name) for name in names}

    def forward(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames 1"]:
        require_one_frame(samples.shape[-1], self.frame_samples, self.sample_rate)
        before = self.frame_samples // 2
        squares = pad(samples, (before, self.frame_samples - before)).square()
        mean_squares = squares.unfold(-1, self.frame_samples, self.hop_samples).mean(dim=-1, keepdim=True)
        return torch.log(mean_squares.clamp(min=math.exp(self.floor_db * math.log(10.0) / 10.0)))
