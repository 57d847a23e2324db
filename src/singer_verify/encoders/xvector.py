"""X-vector: a small time-delay network that trains in minutes."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from singer_verify.encoders.pooling import build_pooling
from singer_verify.errors import require_at_least

FRAME_LAYERS = ((5, 1), (3, 2), (3, 3), (1, 1))  # kernel and dilation of the layers before the last


class TdnnLayer(nn.Module):
    """A layer of a time-delay network: convolution over time, ReLU, BatchNorm; as many frames as before.

    Beyond the ends there are zeros, so that one frame is enough.

    Shape: (batch, num_inputs, frames) → (batch, num_outputs, frames).

    Args:
        num_inputs: channels of the input.
        num_outputs: channels of the output.
        kernel_size: number of frames that are read, odd.
        dilation: distance of these frames.
    """

    def __init__(self, num_inputs: int, num_outputs: int, kernel_size: int = 1, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (kernel_size // 2)
        self.conv = nn.Conv1d(num_inputs, num_outputs, kernel_size, dilation=dilation, padding=padding)
        self.norm = nn.BatchNorm1d(num_outputs)

    def forward(self, frames: Float[Tensor, "batch inputs frames"]) -> Float[Tensor, "batch outputs frames"]:
        return self.norm(self.conv(frames).relu())


class XVectorEncoder(nn.Module):
    """The network of Snyder et al. 2018 ("X-vectors: robust DNN embeddings for speaker recognition", section 2.1).

    Five layers see 15 frames together; they are pooled and projected. Half as wide as published, and the frames at both
    ends are kept by zeros around them, where the original drops seven on each side.

    Shape: frames (batch, frames, bins) → embeddings (batch, embedding), rows of unit length.

    Args:
        num_bins: number of bins of a frame.
        channels: channels of the layers before the last.
        pooled_channels: channels of the last layer, which are pooled.
        embedding_size: size of an embedding.
        pooling: see `encoders.pooling.build_pooling`.
        embedding_norm: whether BatchNorm centres and scales the projection before it is brought to unit length.
    """

    def __init__(
        self,
        num_bins: int,
        channels: int = 256,
        pooled_channels: int = 512,
        embedding_size: int = 256,
        pooling: str = "statistics",
        embedding_norm: bool = True,
    ) -> None:
        super().__init__()
        require_at_least(1, **{"encoder.num_bins": num_bins, "encoder.channels": channels})
        require_at_least(1, **{"encoder.pooled_channels": pooled_channels, "encoder.embedding_size": embedding_size})
        self.embedding_size = embedding_size
        self.settings: dict[str, Any] = {
            "_target_": f"{__name__}.XVectorEncoder",
            "num_bins": num_bins,
            "channels": channels,
            "pooled_channels": pooled_channels,
            "embedding_size": embedding_size,
            "pooling": pooling,
            "embedding_norm": bool(embedding_norm),
        }
        widths = [num_bins, *[channels] * len(FRAME_LAYERS)]
        for number, (kernel_size, dilation) in enumerate(FRAME_LAYERS, start=1):
            layer = TdnnLayer(widths[number - 1], widths[number], kernel_size, dilation)
            self.add_module(f"layer{number}", layer)  # a part that can be frozen by itself
        self.add_module(f"layer{len(widths)}", TdnnLayer(channels, pooled_channels))
        self.pooling = build_pooling(pooling, pooled_channels)
        self.linear = nn.Linear(self.pooling.width, embedding_size)
        self.norm = nn.BatchNorm1d(embedding_size) if embedding_norm else nn.Identity()

    def forward(self, frames: Float[Tensor, "batch frames bins"]) -> Float[Tensor, "batch embedding"]:
        channels = frames.transpose(1, 2)
        for number in range(1, len(FRAME_LAYERS) + 2):
            channels = self.get_submodule(f"layer{number}")(channels)
        return normalize(self.norm(self.linear(self.pooling(channels))).float(), dim=1)
