"""Where frames lie: frame i is centred on the time i · hop, so recipes of one hop line up."""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.errors import SingerVerifyError, UtteranceError


def compute_hop_samples(hop_ms: float, sample_rate: int) -> int:
    """A hop in samples.

    Raises:
        SingerVerifyError: not a whole number of samples.
    """
    samples = hop_ms * sample_rate / 1000.0
    if samples < 1 or abs(samples - round(samples)) > 1e-6:
        raise SingerVerifyError(
            f"hop_ms={hop_ms:g}: {samples:g} samples at {sample_rate} Hz; expected an integer of at least 1."
        )
    return round(samples)


def require_one_frame(num_samples: int, shortest: int, sample_rate: int) -> None:
    """Refuse an utterance that a frame does not fit into.

    Args:
        num_samples: of the utterance.
        shortest: number of samples that are enough.
        sample_rate: of both, in Hz.

    Raises:
        UtteranceError: the utterance is shorter.
    """
    if num_samples < shortest:
        found_ms, needed_ms = (1000 * length / sample_rate for length in (num_samples, shortest))
        raise UtteranceError(f"lasts {found_ms:.0f} ms, shorter than one frame; at least {needed_ms:.0f} ms is needed.")


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
