"""Mel-frequency cepstral coefficients."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from singer_verify.errors import require_at_least, require_between
from singer_verify.features.mel import MelSpectrogram


class Mfcc(nn.Module):
    """Cepstral coefficients: the orthonormal DCT-II of log mel bands (Davis and Mermelstein 1980).

    The bands are those of `MelSpectrogram` with `level_scale=log`: natural logarithms of magnitudes.

    Shape: samples (..., samples) → (..., frames, bins), frames = 1 + samples // hop, on the device of the samples.

    Args:
        num_bins: number of coefficients.
        num_mels: number of mel bands.
        c0: whether to keep coefficient 0, the level of the frame, instead of starting at coefficient 1.
        mel_settings: settings of `MelSpectrogram`: sample_rate, n_fft, hop_ms, fmin_hz, fmax_hz, floor_db,
            high_pass_hz, pre_emphasis.
    """

    transform: Tensor

    def __init__(self, num_bins: int = 20, num_mels: int = 40, c0: bool = True, **mel_settings: Any) -> None:
        super().__init__()
        require_at_least(1, num_bins=num_bins, num_mels=num_mels)
        require_between(1, num_mels if c0 else num_mels - 1, num_bins=num_bins)
        self.num_bins, self.num_mels, self.c0 = num_bins, num_mels, c0
        self.mel = MelSpectrogram(num_mels, level_scale="log", **mel_settings)
        self.sample_rate, self.hop_ms, self.bandwidth_hz = self.mel.sample_rate, self.mel.hop_ms, self.mel.bandwidth_hz
        self.hop_samples = self.mel.hop_samples
        coefficients = torch.arange(num_bins, dtype=torch.float64) + (0 if c0 else 1)
        transform = build_dct_matrix(coefficients, num_mels).float()
        self.register_buffer("transform", transform, persistent=False)

    @property
    def recipe(self) -> dict[str, Any]:
        own = ("num_bins", "num_mels", "c0")
        excluded = (*own, "level_scale", "headroom_db")
        mel_settings = {name: value for name, value in self.mel.recipe.items() if name not in excluded}
        return mel_settings | {"_target_": f"{__name__}.Mfcc"} | {name: getattr(self, name) for name in own}

    @property
    def context_samples(self) -> int | None:
        return self.mel.context_samples

    def forward(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames bins"]:
        return self.mel(samples) @ self.transform.mT


def build_dct_matrix(coefficients: Float[Tensor, " bins"], num_mels: int) -> Float[Tensor, "bins mels"]:
    """Build the requested rows of the orthonormal DCT-II matrix."""
    positions = (torch.arange(num_mels, dtype=torch.float64) + 0.5) * math.pi / num_mels
    rows = torch.cos(coefficients[:, None] * positions) * math.sqrt(2.0 / num_mels)
    rows[coefficients == 0] *= math.sqrt(0.5)
    return rows
