"""Several encoders of the same frames, their embeddings side by side."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from singer_verify.encoders.encoder import build_encoder
from singer_verify.errors import SingerVerifyError

MIN_ENCODERS = 2


class FusionEncoder(nn.Module):
    """Several encoders whose embeddings stand side by side, so that a cosine is the weighted mean of their cosines.

    All of them hear the same frames and are trained together; one without parameters keeps what it knows.

    Shape: frames (batch, frames, bins) → embeddings (batch, embedding), rows of unit length; embedding = sum of the
    encoders' own.

    Args:
        num_bins: number of bins of a frame.
        encoders: settings of each encoder, by a name of your own: `_target_` and its arguments but `num_bins`.
        weights: the weight of each encoder in a cosine, relative to the sum of all; equal ones if None.

    Raises:
        SingerVerifyError: fewer than two encoders, or weights that do not fit them.
    """

    def __init__(self, num_bins: int, encoders: Any, weights: Any = None) -> None:  # as typed: checked here
        super().__init__()
        if not isinstance(encoders, Mapping) or len(encoders) < MIN_ENCODERS:
            raise SingerVerifyError(
                f"encoder.encoders={encoders}: expected the settings of at least {MIN_ENCODERS} encoders, by name."
            )
        weights = dict.fromkeys(encoders, 1.0) if weights is None else weights
        self._require_fitting(encoders, weights)
        total = sum(float(weights[name]) for name in encoders)
        built: dict[str, Any] = {
            name: build_encoder({**settings, "num_bins": num_bins}) for name, settings in encoders.items()
        }
        self.encoders = nn.ModuleDict(built)
        self.scales = {name: (float(weights[name]) / total) ** 0.5 for name in encoders}
        self.embedding_size = sum(encoder.embedding_size for encoder in built.values())
        self.settings: dict[str, Any] = {
            "_target_": f"{__name__}.FusionEncoder",
            "num_bins": num_bins,
            "encoders": {name: encoder.settings for name, encoder in built.items()},
            "weights": {name: float(weights[name]) for name in encoders},
        }

    def forward(self, frames: Float[Tensor, "batch frames bins"]) -> Float[Tensor, "batch embedding"]:
        return torch.cat([self.scales[name] * encoder(frames) for name, encoder in self.encoders.items()], dim=1)

    @staticmethod
    def _require_fitting(encoders: Mapping[str, Any], weights: Any) -> None:
        for name, settings in encoders.items():
            if not isinstance(settings, Mapping) or not isinstance(settings.get("_target_"), str):
                raise SingerVerifyError(
                    f"encoder.encoders.{name}={settings}: expected the settings of an encoder, with its _target_."
                )
            if not name.isidentifier():
                raise SingerVerifyError(f"encoder.encoders.{name}: expected a name of letters, digits and underscores.")
        if not isinstance(weights, Mapping) or set(weights) != set(encoders):
            raise SingerVerifyError(
                f"encoder.weights={weights}: expected a weight for each of {', '.join(encoders)}, and for no other."
            )
        for name, weight in weights.items():
            is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not is_number or not 0 < weight < float("inf"):
                raise SingerVerifyError(
                    f"encoder.weights.{name}={weight}: expected a number above 0; to leave an encoder out, remove it."
                )
