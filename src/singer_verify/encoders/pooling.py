"""Pooling over time: any number of frames becomes one vector of means and deviations, of all frames or weighted."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from singer_verify.errors import require_at_least, require_choice

POOLINGS = (
    "mean",
    "statistics",
    "attentive_statistics",
    "channel_attentive_statistics",
    "context_attentive_statistics",
)
DEFAULT_ATTENTION_CHANNELS = 128
MIN_VARIANCE = 1e-10  # below it a deviation has no gradient, which would grow without bound


def build_pooling(name: str, channels: int, attention_channels: int = DEFAULT_ATTENTION_CHANNELS) -> "Pooling":
    """Build a pooling by its name.

    Args:
        name: one of `POOLINGS`: `mean`; `statistics`, mean and deviation; `attentive_statistics`, both weighted by
            attention to frames (Okabe et al. 2018); `channel_attentive_statistics`, attention of each channel of its
            own (Desplanques et al. 2020); `context_attentive_statistics`, attention that also knows the unweighted
            statistics of the whole utterance (the same, section 3.1).
        channels: number of channels.
        attention_channels: size of the hidden layer that attention is computed with.

    Raises:
        SingerVerifyError: no such pooling.
    """
    require_choice(POOLINGS, **{"encoder.pooling": name})
    if name == "mean":
        return MeanPooling(channels)
    if name == "statistics":
        return StatisticsPooling(channels)
    return AttentiveStatisticsPooling(
        channels,
        attention_channels,
        per_channel=name != "attentive_statistics",
        with_context=name == "context_attentive_statistics",
    )


class Pooling(nn.Module):
    """A map from channels over time to one vector.

    Law: any number of frames from one on is allowed, and a row of the result depends on its own frames only. Values
    and gradients are finite for one frame and for channels that never change. Computed in single precision.

    Shape: channels over time (batch, channels, frames) → (batch, width).

    Attributes:
        width: size of the result.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width


class MeanPooling(Pooling):
    """The mean of each channel.

    Args:
        channels: number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, frames: Float[Tensor, "batch channels frames"]) -> Float[Tensor, "batch width"]:
        return frames.float().mean(dim=2)


class StatisticsPooling(Pooling):
    """The mean of each channel, then its standard deviation (Snyder et al. 2018, "X-vectors", section 2.1).

    The deviation is the one of a sample (of n - 1 frames), which published speaker encoders use.

    Args:
        channels: number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(2 * channels)

    def forward(self, frames: Float[Tensor, "batch channels frames"]) -> Float[Tensor, "batch width"]:
        return torch.cat(compute_mean_and_deviation(frames.float()), dim=1)


class AttentiveStatisticsPooling(Pooling):
    """Mean and standard deviation of frames weighted by self-attention.

    A frame h has the score v · tanh(W h + b) + k; weights are the softmax of scores over frames (Okabe et al. 2018,
    "Attentive statistics pooling for deep speaker embedding", section 3). In ECAPA-TDNN v and k are those of a channel,
    and the mean and the deviation of all frames are appended to h (Desplanques et al. 2020, section 3.1).

    Args:
        channels: number of channels.
        attention_channels: size of the hidden layer.
        per_channel: whether each channel weights frames by scores of its own.
        with_context: whether scores depend on the unweighted statistics of the utterance, too.
    """

    def __init__(
        self,
        channels: int,
        attention_channels: int = DEFAULT_ATTENTION_CHANNELS,
        per_channel: bool = True,
        with_context: bool = True,
    ) -> None:
        super().__init__(2 * channels)
        require_at_least(1, **{"encoder.attention_channels": attention_channels})
        self.with_context = with_context
        self.hidden = nn.Conv1d(3 * channels if with_context else channels, attention_channels, 1)
        self.score = nn.Conv1d(attention_channels, channels if per_channel else 1, 1)

    def forward(self, frames: Float[Tensor, "batch channels frames"]) -> Float[Tensor, "batch width"]:
        frames = frames.float()
        context = [frames]
        if self.with_context:
            context += [part[:, :, None].expand_as(frames) for part in compute_mean_and_deviation(frames)]
        weights = self.score(self.hidden(torch.cat(context, dim=1)).tanh()).float().softmax(dim=2)
        mean = (weights * frames).sum(dim=2)
        variance = (weights * (frames - mean[:, :, None]).square()).sum(dim=2)
        return torch.cat([mean, _compute_deviation(variance)], dim=1)


def compute_mean_and_deviation(
    frames: Float[Tensor, "batch channels frames"],
) -> tuple[Float[Tensor, "batch channels"], Float[Tensor, "batch channels"]]:
    """Compute the mean of each channel and its sample standard deviation, which is near 0 for one frame."""
    mean = frames.mean(dim=2)
    degrees_of_freedom = torch.sym_max(frames.shape[2] - 1, 1)  # `max` would fix the number of frames in a trace
    variance = (frames - mean[:, :, None]).square().sum(dim=2) / degrees_of_freedom
    return mean, _compute_deviation(variance)


def _compute_deviation(variance: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return variance.clamp(min=MIN_VARIANCE).sqrt()
