"""Samples to frames × bins: one recipe a file."""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.features.recipe import feature_settings
from singer_verify.rebuild import rebuild


@runtime_checkable
class Feature(Protocol):
    """What every recipe offers: called on samples, it gives frames.

    A recipe is a plain dictionary: `_target_`, the class's import path, and the settings that rebuild it. Equal recipes
    give equal frames.

    Attributes:
        sample_rate: of the samples it is called on, in Hz.
        hop_ms: from frame to frame.
        num_bins: of a frame.
        bandwidth_hz: highest frequency that the frames tell of; recordings that do not reach it are refused.
        recipe: what rebuilds it.
    """

    sample_rate: int
    hop_ms: float
    num_bins: int

    @property
    def bandwidth_hz(self) -> float: ...

    @property
    def recipe(self) -> dict[str, Any]: ...

    def __call__(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "frames bins"]: ...


@runtime_checkable
class FramewiseFeature(Feature, Protocol):
    """A recipe whose frames can be computed for a crop alone, in a batch and on any device: a `torch.nn.Module`.

    Frame k of an utterance is made from the samples around sample k × `hop_samples`; where these reach beyond the
    utterance, it is reflected. An utterance of n samples has 1 + n // `hop_samples` frames.

    Shape: samples (..., samples) → (..., frames, bins), each row as if it were alone.

    Attributes:
        hop_samples: from frame to frame.
        context_samples: on either side of a frame's middle, from which it is made; an utterance has more samples than
            that. None where these settings of the recipe need a whole utterance.
    """

    hop_samples: int

    @property
    def context_samples(self) -> int | None: ...

    def to(self, device: torch.device) -> "FramewiseFeature": ...


def feature_from_recipe(recipe: dict[str, Any]) -> Feature:
    """The feature that a checkpoint or a store was made with; how its frames are normalised is not its matter.

    Raises:
        SingerVerifyError: the recipe is not one of ours.
    """
    from singer_verify.features.prepared import prepared  # which needs what stands above

    return prepared(rebuild(feature_settings(recipe), __name__), recipe)
