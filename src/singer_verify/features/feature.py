"""The contract of features, and the position of frames: frame i is centred on the time i · hop."""

from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from singer_verify.errors import SingerVerifyError, UtteranceError

Count = TypeVar("Count", int, Int[np.ndarray, " utterances"])


def compute_hop_samples(hop_ms: float, sample_rate: int) -> int:
    """Compute the hop in samples.

    Raises:
        SingerVerifyError: the hop is not a whole number of samples.
    """
    samples = hop_ms * sample_rate / 1000.0
    if samples < 1 or abs(samples - round(samples)) > 1e-6:
        raise SingerVerifyError(
            f"hop_ms={hop_ms:g}: {samples:g} samples at {sample_rate} Hz; expected an integer of at least 1."
        )
    return round(samples)


def require_one_frame(num_samples: int, shortest: int, sample_rate: int) -> None:
    """Refuse an utterance that is too short for one frame.

    Args:
        num_samples: number of samples of the utterance.
        shortest: smallest number of samples that is accepted.
        sample_rate: sample rate of the samples, in Hz.

    Raises:
        UtteranceError: the utterance is shorter.
    """
    if num_samples < shortest:
        found_ms, needed_ms = (1000 * length / sample_rate for length in (num_samples, shortest))
        raise UtteranceError(f"lasts {found_ms:.0f} ms, shorter than one frame; at least {needed_ms:.0f} ms is needed.")


@runtime_checkable
class Feature(Protocol):
    """A recipe: called on the samples of an utterance, it returns frames.

    Law: equal recipes give equal frames; the same samples give the same frames, in any process. Frame k lies
    k × `hop_ms` after the start. An utterance too short for a frame, or otherwise unusable, raises UtteranceError
    (`require_one_frame`); nothing is padded silently.

    Shape: samples (samples,), floats in [-1, 1] at `sample_rate` → (frames, bins).

    Attributes:
        sample_rate: sample rate of the samples, in Hz.
        hop_ms: time from frame to frame.
        num_bins: bins of a frame.
        bandwidth_hz: highest frequency the frames depend on; recordings that do not reach it are refused.
        recipe: settings that rebuild it: `_target_`, the class's import path, and the constructor's arguments, as plain
            values.

    Example:
        class Loudness:
            sample_rate, hop_ms, num_bins, bandwidth_hz = 16000, 10.0, 1, 8000.0
            recipe = {"_target_": f"{__name__}.Loudness"}

            def __call__(self, samples):
                require_one_frame(len(samples), 160, self.sample_rate)
                return samples.unfold(0, 160, 160).square().mean(dim=1, keepdim=True)
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
    utterance, it is reflected. An utterance of n samples has 1 + n // `hop_samples` frames, or as many as the recipe's
    method `count_frames` says, if it has one.

    Shape: samples (..., samples) → (..., frames, bins), each row as if it were alone.

    Attributes:
        hop_samples: samples from frame to frame.
        context_samples: samples that a frame depends on to either side of that sample; an utterance must be longer.
            None if the frames depend on the whole utterance with these settings.
    """

    hop_samples: int

    @property
    def context_samples(self) -> int | None: ...

    def to(self, device: torch.device) -> "FramewiseFeature": ...


@runtime_checkable
class FrameCounter(Protocol):
    """A framewise recipe with a law of its own for the number of frames.

    Shape: a number of samples, or an array of them → numbers of frames.
    """

    def count_frames(self, num_samples: Any) -> Any: ...


def count_frames(feature: FramewiseFeature, num_samples: Count) -> Count:
    """Count the frames of an utterance of so many samples, or of each utterance in an array of lengths."""
    if isinstance(feature, FrameCounter):
        return feature.count_frames(num_samples)
    return 1 + num_samples // feature.hop_samples
