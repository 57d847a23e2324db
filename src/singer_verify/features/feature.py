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
        shortest_samples: only of a recipe that reflects an utterance as often as needed, and takes shorter ones than
            that: samples of the shortest.
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


def get_shortest_samples(feature: FramewiseFeature) -> int:
    """Return the number of samples of the shortest utterance that a recipe with `context_samples` takes."""
    assert feature.context_samples is not None
    return getattr(feature, "shortest_samples", feature.context_samples + 1)


def reflect_edges(samples: Float[Tensor, "*batch samples"], num_reflected: int) -> Float[Tensor, "*batch reflected"]:
    """Extend utterances at both ends by their reflection, as often as needed.

    Shape: samples (..., samples) → (..., samples + 2 · num_reflected).

    Args:
        samples: utterances of at least two samples.
        num_reflected: samples to put before, and as many after.
    """
    last = samples.shape[-1] - 1
    positions = torch.arange(-num_reflected, last + 1 + num_reflected, device=samples.device)
    period = torch.full_like(positions, 2 * last)  # a tensor, which exports to ONNX
    return samples[..., (torch.remainder(positions + last, period) - last).abs()]


class ReflectedFrames:
    """Frames of a recipe from before the start of an utterance to after its end, as if it went on reflected.

    The frames of a long window around each frame of the utterance are among them.

    Shape: samples (..., samples) → (..., frames + 2 · num_reflected, bins).

    Args:
        feature: recipe with `context_samples`.
        num_reflected: frames before, and as many after.
    """

    def __init__(self, feature: FramewiseFeature, num_reflected: int) -> None:
        assert feature.context_samples is not None
        self.feature, self.num_reflected = feature, num_reflected
        self.num_dropped = -(-feature.context_samples // feature.hop_samples)  # which see the ends of the reflection
        self.context_samples = num_reflected * feature.hop_samples + feature.context_samples
        self.shortest_samples = get_shortest_samples(feature)

    def __call__(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames bins"]:
        require_one_frame(samples.shape[-1], self.shortest_samples, self.feature.sample_rate)
        num_samples = (self.num_reflected + self.num_dropped) * self.feature.hop_samples
        frames = self.feature(reflect_edges(samples, num_samples))
        return frames[..., self.num_dropped : frames.shape[-2] - self.num_dropped, :]
