"""ECAPA-TDNN: a time-delay network with attention to channels, whose layers are pooled together."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from singer_verify.encoders.pooling import DEFAULT_ATTENTION_CHANNELS, build_pooling
from singer_verify.encoders.xvector import TdnnLayer
from singer_verify.errors import SingerVerifyError, require_at_least

INPUT_KERNEL, BLOCK_KERNEL = 5, 3


class EcapaEncoder(nn.Module):
    """The network of Desplanques et al. 2020 ("ECAPA-TDNN: Emphasized channel attention, propagation and aggregation").

    A time-delay layer, blocks of growing dilation (figure 2), their outputs side by side in one more layer, attentive
    statistics, a projection.

    Shape: frames (batch, frames, bins) → embeddings (batch, embedding), rows of unit length.

    Args:
        num_bins: number of bins of a frame.
        channels: channels of the first layer and of the blocks, a multiple of `scale`.
        dilations: dilation of each block.
        scale: groups of channels in the multi-scale convolution of a block.
        squeeze_channels: size of the bottleneck of squeeze-and-excitation.
        aggregation_channels: channels that the outputs of all blocks become, and that are pooled.
        attention_channels: size of the hidden layer of attention.
        embedding_size: size of an embedding.
        pooling: see `encoders.pooling.build_pooling`.
        summation: whether a block reads the sum of all outputs before it (section 3.3), instead of the last alone.
        embedding_norm: whether BatchNorm centres and scales the projection before it is brought to unit length.
    """

    def __init__(
        self,
        num_bins: int,
        channels: int = 512,
        dilations: Sequence[int] = (2, 3, 4),
        scale: int = 8,
        squeeze_channels: int = 128,
        aggregation_channels: int = 1536,
        attention_channels: int = DEFAULT_ATTENTION_CHANNELS,
        embedding_size: int = 192,
        pooling: str = "context_attentive_statistics",
        summation: bool = True,
        embedding_norm: bool = True,
    ) -> None:
        super().__init__()
        require_at_least(1, **{"encoder.num_bins": num_bins, "encoder.channels": channels})
        require_at_least(2, **{"encoder.scale": scale})
        require_at_least(1, **{"encoder.squeeze_channels": squeeze_channels})
        require_at_least(1, **{"encoder.aggregation_channels": aggregation_channels})
        require_at_least(1, **{"encoder.embedding_size": embedding_size})
        dilations = _require_dilations(dilations)
        if channels % scale:
            raise SingerVerifyError(f"encoder.channels={channels}: expected a multiple of encoder.scale={scale}.")
        self.embedding_size = embedding_size
        self.settings: dict[str, Any] = {
            "_target_": f"{__name__}.EcapaEncoder",
            "num_bins": num_bins,
            "channels": channels,
            "dilations": dilations,
            "scale": scale,
            "squeeze_channels": squeeze_channels,
            "aggregation_channels": aggregation_channels,
            "attention_channels": attention_channels,
            "embedding_size": embedding_size,
            "pooling": pooling,
            "summation": bool(summation),
            "embedding_norm": bool(embedding_norm),
        }
        self.layer1 = TdnnLayer(num_bins, channels, INPUT_KERNEL)
        for number, dilation in enumerate(dilations, start=2):  # parts that can be frozen by themselves
            self.add_module(f"layer{number}", EcapaBlock(channels, dilation, scale, squeeze_channels))
        self.aggregation = nn.Conv1d(len(dilations) * channels, aggregation_channels, 1)
        self.pooling = build_pooling(pooling, aggregation_channels, attention_channels)
        self.pooling_norm = nn.BatchNorm1d(self.pooling.width)
        self.linear = nn.Linear(self.pooling.width, embedding_size)
        self.norm = nn.BatchNorm1d(embedding_size) if embedding_norm else nn.Identity()

    def forward(self, frames: Float[Tensor, "batch frames bins"]) -> Float[Tensor, "batch embedding"]:
        given, outputs = self.layer1(frames.transpose(1, 2)), []
        for number in range(2, 2 + len(self.settings["dilations"])):
            outputs.append(self.get_submodule(f"layer{number}")(given))
            given = given + outputs[-1] if self.settings["summation"] else outputs[-1]
        aggregated = self.aggregation(torch.cat(outputs, dim=1)).relu()
        return normalize(self.norm(self.linear(self.pooling_norm(self.pooling(aggregated)))).float(), dim=1)


class EcapaBlock(nn.Module):
    """A Res2Net block with squeeze-and-excitation, added to its input (Desplanques et al. 2020, section 3.2).

    Shape: (batch, channels, frames) → the same.

    Args:
        channels: number of channels, a multiple of `scale`.
        dilation: dilation of the multi-scale convolution.
        scale: number of groups of channels in it.
        squeeze_channels: size of the bottleneck of squeeze-and-excitation.
    """

    def __init__(self, channels: int, dilation: int, scale: int, squeeze_channels: int) -> None:
        super().__init__()
        self.before = TdnnLayer(channels, channels)
        self.multi_scale = MultiScaleConvolution(channels, dilation, scale)
        self.after = TdnnLayer(channels, channels)
        self.excitation = SqueezeExcitation(channels, squeeze_channels)

    def forward(self, frames: Float[Tensor, "batch channels frames"]) -> Float[Tensor, "batch channels frames"]:
        return frames + self.excitation(self.after(self.multi_scale(self.before(frames))))


class MultiScaleConvolution(nn.Module):
    """Groups of channels, each convolved after the result of the group before was added (Gao et al. 2019, "Res2Net").

    The last group passes as it is. So a later group sees more frames than an earlier one.

    Shape: (batch, channels, frames) → the same.

    Args:
        channels: number of channels, a multiple of `scale`.
        dilation: dilation of the convolutions.
        scale: number of groups.
    """

    def __init__(self, channels: int, dilation: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        width = channels // scale
        self.layers = nn.ModuleList(TdnnLayer(width, width, BLOCK_KERNEL, dilation) for _ in range(scale - 1))

    def forward(self, frames: Float[Tensor, "batch channels frames"]) -> Float[Tensor, "batch channels frames"]:
        *groups, last = frames.chunk(self.scale, dim=1)
        outputs: list[Tensor] = []
        for layer, group in zip(self.layers, groups, strict=True):
            outputs.append(layer(group + outputs[-1] if outputs else group))
        return torch.cat([*outputs, last], dim=1)


class SqueezeExcitation(nn.Module):
    """Channels scaled by what their means over time say of the recording (Hu et al. 2018).

    Shape: (batch, channels, frames) → the same.

    Args:
        channels: number of channels.
        squeeze_channels: size of the bottleneck.
    """

    def __init__(self, channels: int, squeeze_channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, squeeze_channels)
        self.excite = nn.Linear(squeeze_channels, channels)

    def forward(self, frames: Float[Tensor, "batch channels frames"]) -> Float[Tensor, "batch channels frames"]:
        scales = self.excite(self.squeeze(frames.mean(dim=2)).relu()).sigmoid()
        return frames * scales[:, :, None]


def _require_dilations(dilations: object) -> list[int]:
    """Return the dilations as a plain list."""
    values = list(dilations) if isinstance(dilations, Sequence) and not isinstance(dilations, str) else []
    if not values:
        raise SingerVerifyError(f"encoder.dilations={dilations}: expected a list of integers, for example [2,3,4].")
    require_at_least(1, **{f"encoder.dilations[{place}]": value for place, value in enumerate(values)})
    return values
