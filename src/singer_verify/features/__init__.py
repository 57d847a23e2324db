"""Samples to frames × bins: one recipe a file."""

from typing import Any, Protocol, runtime_checkable

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


def feature_from_recipe(recipe: dict[str, Any]) -> Feature:
    """The feature that a checkpoint or a store was made with; how its frames are normalised is not its matter.

    Raises:
        SingerVerifyError: the recipe is not one of ours.
    """
    from singer_verify.features.prepared import prepared  # which needs what stands above

    return prepared(rebuild(feature_settings(recipe), __name__), recipe)
