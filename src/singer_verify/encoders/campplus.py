"""CAM++: a two-dimensional residual front, densely connected time-delay layers, and masks from the context."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from singer_verify.encoders.pooling import StatisticsPooling
from singer_verify.errors import SingerVerifyError, require_at_least

FRONT_BLOCKS = 2  # residual blocks in each of the two layers of the front
FREQUENCY_REDUCTION = 8  # the front halves the bins three times
Maps = Float[Tensor, "batch _ _ frames"]  # channels and bins
Sequences = Float[Tensor, "batch _ frames"]  # channels


class CAMPPlusEncoder(nn.Module):
    """CAM++ of Wang et al. 2023 ("CAM++: a fast and efficient network for speaker verification using context-aware
    masking", Interspeech).

    A front of two-dimensional convolutions reads the frames as a picture. Its channels go through a time-delay layer
    that halves the frame rate, and three blocks of densely connected time-delay layers; after each block a transition
    halves the channels. Each dense layer multiplies its output by a mask, computed from the mean over all frames and
    the mean over the frame's segment. Mean and standard deviation over time are projected to the embedding.

    The parameters bear the names of the published weights (3D-Speaker, wespeaker) without their prefix `xvector.`.

    Shape: frames (batch, frames, bins) → embeddings (batch, embedding), rows of unit length; at least one frame.

    Args:
        num_bins: number of bins of a frame.
        embedding_size: size of an embedding.
        front_channels: channels of the front.
        channels: channels of the first time-delay layer.
        growth: channels that each dense layer adds.
        bottleneck: channels that a dense layer reduces its input to before its convolution over time.
        num_layers: number of dense layers of each block.
        dilations: dilation of the convolutions of each block.
        segment_frames: frames of a segment, after the halving of the frame rate.
    """

    def __init__(
        self,
        num_bins: int,
        embedding_size: int = 192,
        front_channels: int = 32,
        channels: int = 128,
        growth: int = 32,
        bottleneck: int = 128,
        num_layers: Sequence[int] = (12, 24, 16),
        dilations: Sequence[int] = (1, 2, 2),
        segment_frames: int = 100,
    ) -> None:
        super().__init__()
        sizes = {
            "num_bins": num_bins,
            "embedding_size": embedding_size,
            "front_channels": front_channels,
            "channels": channels,
            "growth": growth,
            "bottleneck": bottleneck,
            "segment_frames": segment_frames,
        }
        require_at_least(1, **{f"encoder.{name}": size for name, size in sizes.items()})
        require_at_least(2, **{"encoder.bottleneck": bottleneck})  # the masks are computed from half of them
        num_layers, dilations = [int(number) for number in num_layers], [int(number) for number in dilations]
        if not num_layers or len(num_layers) != len(dilations) or min(num_layers + dilations) < 1:
            raise SingerVerifyError(
                f"encoder.num_layers={num_layers}, encoder.dilations={dilations}: expected as many of each, one a "
                f"block, all at least 1."
            )
        self.embedding_size = embedding_size
        self.settings: dict[str, Any] = {
            "_target_": f"{__name__}.CAMPPlusEncoder",
            **sizes,
            "num_layers": num_layers,
            "dilations": dilations,
        }
        self.head = ResidualFront(front_channels)
        self.tdnn = TimeDelayLayer(front_channels * -(-num_bins // FREQUENCY_REDUCTION), channels)
        self.block_names: list[tuple[str, str]] = []
        for number, (layers, dilation) in enumerate(zip(num_layers, dilations, strict=True), start=1):
            block = DenseBlock(channels, layers, growth, bottleneck, dilation, segment_frames)
            channels += layers * growth
            self.add_module(f"block{number}", block)
            self.add_module(f"transit{number}", TransitionLayer(channels, channels // 2))
            self.block_names.append((f"block{number}", f"transit{number}"))
            channels //= 2
        self.out_nonlinear = build_activation(channels)
        self.pooling = StatisticsPooling(channels)
        self.dense = EmbeddingLayer(self.pooling.width, embedding_size)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, frames: Float[Tensor, "batch frames bins"]) -> Float[Tensor, "batch embedding"]:
        hidden = self.tdnn(self.head(frames.mT[:, None]).flatten(1, 2))
        for block, transition in self.block_names:
            hidden = self.get_submodule(transition)(self.get_submodule(block)(hidden))
        return normalize(self.dense(self.pooling(self.out_nonlinear(hidden))).float(), dim=1)


class ResidualFront(nn.Module):
    """The front: convolutions over bins and frames with residual blocks, which keep the frames and divide the bins.

    Shape: (batch, 1, bins, frames) → (batch, channels, bins / 8 rounded up, frames).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = build_convolution(1, channels, 3), nn.BatchNorm2d(channels)
        self.layer1, self.layer2 = (
            nn.Sequential(*(ResidualBlock(channels, 2 if number == 0 else 1) for number in range(FRONT_BLOCKS)))
            for _ in range(2)
        )
        self.conv2, self.bn2 = build_convolution(channels, channels, 3, stride=2), nn.BatchNorm2d(channels)

    def forward(self, frames: Maps) -> Maps:
        maps = self.layer2(self.layer1(self.bn1(self.conv1(frames)).relu()))
        return self.bn2(self.conv2(maps)).relu()


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016, "Deep residual learning for image recognition").

    Args:
        channels: channels of input and output.
        stride: number that the bins are divided by; where it is not 1, the shortcut is a convolution too.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = build_convolution(channels, channels, 3, stride), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = build_convolution(channels, channels, 3), nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut.extend([build_convolution(channels, channels, 1, stride), nn.BatchNorm2d(channels)])

    def forward(self, maps: Maps) -> Maps:
        hidden = self.bn1(self.conv1(maps)).relu()
        return (self.bn2(self.conv2(hidden)) + self.shortcut(maps)).relu()


def build_convolution(in_channels: int, out_channels: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Build a convolution over bins and frames that strides over the bins only."""
    return nn.Conv2d(in_channels, out_channels, size, stride=(stride, 1), padding=size // 2, bias=False)


def build_activation(channels: int) -> nn.Sequential:
    """Build a batch normalisation with a rectifier after it."""
    layers = nn.Sequential()
    layers.add_module("batchnorm", nn.BatchNorm1d(channels))
    layers.add_module("relu", nn.ReLU())
    return layers


class TimeDelayLayer(nn.Module):
    """A convolution over five frames that takes every second one, normalised and rectified.

    Shape: (batch, in_channels, frames) → (batch, out_channels, frames / 2 rounded up).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(in_channels, out_channels, 5, stride=2, padding=2, bias=False)
        self.nonlinear = build_activation(out_channels)

    def forward(self, hidden: Sequences) -> Float[Tensor, "batch _ halved"]:
        return self.nonlinear(self.linear(hidden))


class DenseBlock(nn.ModuleDict):
    """Dense layers, each of which reads the block's input and the outputs of all layers before it.

    Shape: (batch, channels, frames) → (batch, channels + num_layers · growth, frames).
    """

    def __init__(
        self, channels: int, num_layers: int, growth: int, bottleneck: int, dilation: int, segment_frames: int
    ) -> None:
        super().__init__()
        for number in range(num_layers):
            layer = DenseLayer(channels + number * growth, growth, bottleneck, dilation, segment_frames)
            self[f"tdnnd{number + 1}"] = layer

    def forward(self, hidden: Sequences) -> Sequences:
        for layer in self.values():
            hidden = torch.cat([hidden, layer(hidden)], dim=1)
        return hidden


class DenseLayer(nn.Module):
    """A bottleneck, then a convolution over three frames with a mask; each is normalised and rectified before.

    Shape: (batch, in_channels, frames) → (batch, growth, frames).
    """

    def __init__(self, in_channels: int, growth: int, bottleneck: int, dilation: int, segment_frames: int) -> None:
        super().__init__()
        self.nonlinear1 = build_activation(in_channels)
        self.linear1 = nn.Conv1d(in_channels, bottleneck, 1, bias=False)
        self.nonlinear2 = build_activation(bottleneck)
        self.cam_layer = MaskedConvolution(bottleneck, growth, dilation, segment_frames)

    def forward(self, hidden: Sequences) -> Sequences:
        return self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(hidden))))


class MaskedConvolution(nn.Module):
    """A convolution whose output is multiplied by a mask from the context (Wang et al. 2023, section 2.3).

    All frames of a segment share the context, the mean over all frames plus the mean over the segment, and so the mask,
    which is computed once for a segment.

    Shape: (batch, in_channels, frames) → (batch, out_channels, frames).
    """

    def __init__(self, in_channels: int, out_channels: int, dilation: int, segment_frames: int) -> None:
        super().__init__()
        self.segment_frames = segment_frames
        self.linear_local = nn.Conv1d(in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(in_channels, in_channels // 2, 1)
        self.linear2 = nn.Conv1d(in_channels // 2, out_channels, 1)

    def forward(self, hidden: Sequences) -> Sequences:
        context = hidden.mean(dim=2, keepdim=True) + compute_segment_means(hidden, self.segment_frames)
        masks = self.linear2(self.linear1(context).relu()).sigmoid()
        of_frames = masks.repeat_interleave(self.segment_frames, dim=2)[..., : hidden.shape[2]]
        return self.linear_local(hidden) * of_frames


class TransitionLayer(nn.Module):
    """Normalisation, rectifier and a projection to fewer channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.nonlinear = build_activation(in_channels)
        self.linear = nn.Conv1d(in_channels, out_channels, 1, bias=False)

    def forward(self, hidden: Sequences) -> Sequences:
        return self.linear(self.nonlinear(hidden))


class EmbeddingLayer(nn.Module):
    """A projection of vectors, normalised without a scale and an offset of its own."""

    def __init__(self, in_channels: int, embedding_size: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(in_channels, embedding_size, 1, bias=False)
        self.nonlinear = nn.Sequential()
        self.nonlinear.add_module("batchnorm", nn.BatchNorm1d(embedding_size, affine=False))

    def forward(self, vectors: Float[Tensor, "batch channels"]) -> Float[Tensor, "batch embedding"]:
        return self.nonlinear(self.linear(vectors[..., None])[..., 0])


def compute_segment_means(
    hidden: Float[Tensor, "batch channels frames"], segment_frames: int
) -> Float[Tensor, "batch channels segments"]:
    """Compute the mean over each segment of so many frames; the last may be shorter. Traceable at any length."""
    num_frames = hidden.shape[2]
    num_segments = (num_frames + segment_frames - 1) // segment_frames
    padded = pad(hidden, (0, num_segments * segment_frames - num_frames))
    first_frames = torch.arange(num_segments, device=hidden.device) * segment_frames
    lengths = (num_frames - first_frames).clamp(max=segment_frames)
    return padded.unflatten(2, (num_segments, segment_frames)).sum(dim=3) / lengths
