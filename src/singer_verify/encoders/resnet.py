"""ResNet: residual convolutions over bins and frames, pooled by statistics over time."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from singer_verify.encoders.pooling import build_pooling
from singer_verify.errors import SingerVerifyError, require_at_least

NUM_LAYERS = 4  # each but the first halves bins and frames
REDUCTION = 2 ** (NUM_LAYERS - 1)
Maps = Float[Tensor, "batch _ _ _"]  # channels, bins and frames


class ResNetEncoder(nn.Module):
    """A residual network on frames as a picture (He et al. 2016, "Deep residual learning for image recognition").

    The network of Zeinali et al. 2019 ("BUT system description to VoxCeleb speaker recognition challenge"): narrower
    than for pictures, without a stride in the first convolution, statistics pooling over time. Three of the four layers
    halve bins and frames and double the channels. The parameters bear the names of wespeaker's published weights.

    Shape: frames (batch, frames, bins) → embeddings (batch, embedding), rows of unit length; at least one frame.

    Args:
        num_bins: number of bins of a frame.
        channels: channels of the first layer.
        num_blocks: blocks of each of the four layers; 3, 4, 6, 3 is ResNet34, with bottlenecks ResNet50.
        bottleneck: whether a block convolves once, between two layers that reduce and expand channels four times, and
            not twice.
        embedding_size: size of an embedding.
        pooling: see `encoders.pooling.build_pooling`.
    """

    def __init__(
        self,
        num_bins: int,
        channels: int = 32,
        num_blocks: Sequence[int] = (3, 4, 6, 3),
        bottleneck: bool = False,
        embedding_size: int = 256,
        pooling: str = "statistics",
    ) -> None:
        super().__init__()
        require_at_least(1, **{"encoder.num_bins": num_bins, "encoder.channels": channels})
        require_at_least(1, **{"encoder.embedding_size": embedding_size})
        num_blocks = [int(number) for number in num_blocks]
        if len(num_blocks) != NUM_LAYERS or min(num_blocks) < 1:
            raise SingerVerifyError(f"encoder.num_blocks={num_blocks}: expected {NUM_LAYERS} integers of at least 1.")
        self.embedding_size = embedding_size
        self.settings: dict[str, Any] = {
            "_target_": f"{__name__}.ResNetEncoder",
            "num_bins": num_bins,
            "channels": channels,
            "num_blocks": num_blocks,
            "bottleneck": bool(bottleneck),
            "embedding_size": embedding_size,
            "pooling": pooling,
        }
        self.conv1, self.bn1 = _build_convolution(1, channels, 3), nn.BatchNorm2d(channels)
        block_type = BottleneckBlock if bottleneck else BasicBlock
        width = channels
        for number, blocks in enumerate(num_blocks):
            layer = nn.Sequential()
            for place in range(blocks):
                layer.append(block_type(width, channels * 2**number, 2 if number and not place else 1))
                width = channels * 2**number * block_type.expansion
            self.add_module(f"layer{number + 1}", layer)  # a part that can be frozen by itself
        self.pooling = build_pooling(pooling, width * -(-num_bins // REDUCTION))
        self.seg_1 = nn.Linear(self.pooling.width, embedding_size)

    def forward(self, frames: Float[Tensor, "batch frames bins"]) -> Float[Tensor, "batch embedding"]:
        maps = self.bn1(self.conv1(frames.mT[:, None])).relu()
        for number in range(NUM_LAYERS):
            maps = self.get_submodule(f"layer{number + 1}")(maps)
        return normalize(self.seg_1(self.pooling(maps.flatten(1, 2))).float(), dim=1)


class ResidualBlock(nn.Module):
    """A shortcut beside the convolutions of a subclass; a projection where the shape changes.

    Shape: (batch, in_channels, bins, frames) → (batch, channels · expansion, bins / stride, frames / stride), both
    rounded up.

    Args:
        in_channels: channels of the input.
        channels: channels of the convolutions.
        stride: number that bins and frames are divided by.

    Attributes:
        expansion: channels of the output, as a multiple of those of the convolutions.
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.shortcut, out_channels = nn.Sequential(), self.expansion * channels
        if stride != 1 or in_channels != out_channels:
            self.shortcut.append(_build_convolution(in_channels, out_channels, 1, stride))
            self.shortcut.append(nn.BatchNorm2d(out_channels))

    def forward(self, maps: Maps) -> Maps:
        return (self.convolve(maps) + self.shortcut(maps)).relu()

    def convolve(self, maps: Maps) -> Maps:
        """Convolve the input; its shortcut is added afterwards."""
        raise NotImplementedError


class BasicBlock(ResidualBlock):
    """Two convolutions over three bins and frames."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(in_channels, channels, stride)
        self.conv1, self.bn1 = _build_convolution(in_channels, channels, 3, stride), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = _build_convolution(channels, channels, 3), nn.BatchNorm2d(channels)

    def convolve(self, maps: Maps) -> Maps:
        return self.bn2(self.conv2(self.bn1(self.conv1(maps)).relu()))


class BottleneckBlock(ResidualBlock):
    """A convolution over three bins and frames, between a reduction of the channels and an expansion."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(in_channels, channels, stride)
        self.conv1, self.bn1 = _build_convolution(in_channels, channels, 1), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = _build_convolution(channels, channels, 3, stride), nn.BatchNorm2d(channels)
        self.conv3 = _build_convolution(channels, self.expansion * channels, 1)
        self.bn3 = nn.BatchNorm2d(self.expansion * channels)

    def convolve(self, maps: Maps) -> Maps:
        hidden = self.bn2(self.conv2(self.bn1(self.conv1(maps)).relu())).relu()
        return self.bn3(self.conv3(hidden))


def _build_convolution(in_channels: int, out_channels: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, size, stride=stride, padding=size // 2, bias=False)
