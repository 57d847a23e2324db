"""Long-term average spectrum: running means of a recipe's frames over a long window."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from singer_verify.errors import SingerVerifyError, require_between
from singer_verify.features.feature import FramewiseFeature, ReflectedFrames, count_frames
from singer_verify.features.recipe import resolve_recipe


class LongTermAverage(nn.Module):
    """Means over a long window of the frames of a recipe, and optionally their standard deviations.

    With a spectrum in decibels as the recipe, this is the long-term average spectrum, in which vowels and notes average
    out and the voice is left (Löfqvist and Mandersson 1987, "Long-time average spectrum of speech and voice analysis").
    It is usually a mean of powers; here levels are averaged, so that loud notes count no more than soft ones and a gain
    moves all bins alike.

    Shape: samples (..., samples) → (..., frames, bins), as many frames as the recipe has, or with the deviation
    (..., frames, 2 · bins): means, deviations. The window of frame k is the frames from k - h to k + h, where h is half
    the window in hops; where these reach beyond the utterance, it is reflected, as often as needed.

    Args:
        base: recipe with frames of their neighbourhood only, by its name in conf/features or as its settings:
            `features.base=mfcc`.
        window_ms: length of the window; rounded to two whole numbers of hops and a frame.
        deviation: whether to append the standard deviation of the frames in the window.

    Raises:
        SingerVerifyError: the frames of the base depend on the whole utterance.
    """

    base: FramewiseFeature

    def __init__(self, base: Any = "mel80", window_ms: float = 1000.0, deviation: bool = True) -> None:
        super().__init__()
        require_between(20.0, 60_000.0, window_ms=window_ms)
        if not isinstance(deviation, bool):
            raise SingerVerifyError(f"deviation={deviation}: expected true or false.")
        resolved = resolve_recipe(base)
        if not isinstance(resolved, FramewiseFeature) or resolved.context_samples is None:
            name = base if isinstance(base, str) else type(resolved).__name__
            raise SingerVerifyError(
                f"base={name}: its frames depend on the whole utterance; expected a recipe like mel80, whose frames "
                f"depend on their neighbourhood only."
            )
        self.base, self.window_ms, self.deviation = resolved, float(window_ms), deviation
        self.sample_rate, self.hop_ms, self.hop_samples = resolved.sample_rate, resolved.hop_ms, resolved.hop_samples
        self.num_bins = resolved.num_bins * (1 + deviation)
        self.half_window = max(round(window_ms / 2 / self.hop_ms), 1)
        self.reflected_frames = ReflectedFrames(resolved, self.half_window)
        self.shortest_samples = self.reflected_frames.shortest_samples

    @property
    def bandwidth_hz(self) -> float:
        return self.base.bandwidth_hz

    @property
    def recipe(self) -> dict[str, Any]:
        own = {"base": self.base.recipe, "window_ms": self.window_ms, "deviation": self.deviation}
        return {"_target_": f"{__name__}.LongTermAverage"} | own

    @property
    def context_samples(self) -> int:
        return self.reflected_frames.context_samples

    def count_frames(self, num_samples: Any) -> Any:
        """Count the frames of an utterance, or of each in an array of lengths in samples."""
        return count_frames(self.base, num_samples)

    def forward(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames bins"]:
        frames = self.reflected_frames(samples).double()  # for differences of large sums
        means = self._average(frames)
        if not self.deviation:
            return means.float()
        variances = self._average(frames.square()) - means.square()
        return torch.cat([means, variances.clamp(min=0.0).sqrt()], dim=-1).float()

    def _average(self, frames: Float[Tensor, "*batch reflected bins"]) -> Float[Tensor, "*batch frames bins"]:
        length = 2 * self.half_window + 1
        sums = torch.cat([torch.zeros_like(frames[..., :1, :]), frames.cumsum(dim=-2)], dim=-2)
        return (sums[..., length:, :] - sums[..., :-length, :]) / length
