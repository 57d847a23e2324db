"""Concatenation of several recipes along the bins."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.feature import Feature
from singer_verify.features.recipe import resolve_recipe

MAX_FRAME_COUNT_DIFFERENCE = 1  # largest difference of frame counts between parts


class FeatureStack(nn.Module):
    """Several recipes concatenated along the bins, in order.

    The parts share sample rate and hop; an extra frame at the end of one part is dropped.

    Shape: samples (samples,) → (frames, bins), bins summed over the parts. Raises
    UtteranceError if frame counts differ by more than one.

    Args:
        stack: recipes, each by its name in conf/features or as its settings: `features.stack=[mel40,pitch]`.

    Raises:
        SingerVerifyError: no parts, or parts with different hops or sample rates.
    """

    def __init__(self, stack: Sequence[Any]) -> None:
        super().__init__()
        if isinstance(stack, str) or not len(stack):
            raise SingerVerifyError(f"stack={stack}: expected a list of recipes, for instance [mel40,pitch].")
        self.parts = [resolve_recipe(given) for given in stack]
        self.torch_parts = nn.ModuleList(part for part in self.parts if isinstance(part, nn.Module))
        self.names = [
            given if isinstance(given, str) else type(part).__name__
            for given, part in zip(stack, self.parts, strict=True)
        ]
        self._require_equal_setting("a hop of {:g} ms", lambda part: part.hop_ms, "hop_ms")
        self._require_equal_setting("a sample rate of {:g} Hz", lambda part: part.sample_rate, "sample_rate")
        self.sample_rate, self.hop_ms = self.parts[0].sample_rate, self.parts[0].hop_ms
        self.num_bins = sum(part.num_bins for part in self.parts)

    @property
    def bandwidth_hz(self) -> float:
        return max(part.bandwidth_hz for part in self.parts)

    @property
    def recipe(self) -> dict[str, Any]:
        return {"_target_": f"{__name__}.FeatureStack", "stack": [part.recipe for part in self.parts]}

    def forward(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames bins"]:
        frames = [part(samples) for part in self.parts]
        num_frames = [part_frames.shape[-2] for part_frames in frames]
        if max(num_frames) - min(num_frames) > MAX_FRAME_COUNT_DIFFERENCE:
            counts = ", ".join(f"{count} of {name}" for name, count in zip(self.names, num_frames, strict=True))
            raise UtteranceError(f"a stack needs as many frames of each recipe; found {counts}: leave one out.")
        return torch.cat([part_frames[..., : min(num_frames), :] for part_frames in frames], dim=-1)

    def _require_equal_setting(self, wording: str, get_value: Callable[[Feature], float], setting: str) -> None:
        first = get_value(self.parts[0])
        for name, part in zip(self.names, self.parts, strict=True):
            if get_value(part) != first:
                raise SingerVerifyError(
                    f"stack: {self.names[0]} has {wording.format(first)}, {name} {wording.format(get_value(part))}; "
                    f"expected the same: set {setting} in one of their yamls."
                )
