"""A small convolutional encoder with BatchNorm."""

from torch import nn
from torch.nn.functional import normalize


class ConvEncoder(nn.Module):
    """Two convolutions over time, the mean over frames, a projection.

    Args:
        num_bins: bins of a frame.
        channels: channels of each convolution.
        embedding_size: size of an embedding.
    """

    def __init__(self, num_bins, channels=(8, 8), embedding_size=6):
        super().__init__()
        self.embedding_size = embedding_size
        self.settings = {
            "_target_": f"{__name__}.ConvEncoder",
            "num_bins": num_bins,
            "channels": list(channels),
            "embedding_size": embedding_size,
        }
        first, second = channels
        self.front = nn.Sequential(nn.Conv1d(num_bins, first, 5, padding=2), nn.BatchNorm1d(first), nn.ReLU())
        self.back = nn.Sequential(nn.Conv1d(first, second, 3, padding=1), nn.BatchNorm1d(second), nn.ReLU())
        self.linear = nn.Linear(second, embedding_size)

    def forward(self, frames):
        channels = self.back(self.front(frames.transpose(1, 2)))
        return normalize(self.linear(channels.mean(dim=2)), dim=1)
