"""Mean and standard deviation of the frames: the floor that a trained encoder has to beat."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from singer_verify.errors import require_at_least


class StatisticsEncoder(nn.Module):
    """Each bin's mean over the frames, then each bin's standard deviation, all together at unit length.

    Without a projection it has no parameters, so nothing is trained. It is meant for whole utterances
    (conf/encoder/statistics.yaml): the deviation within a short window is another quantity than within a recording, and
    so would be the average of it.

    A cosine between two such embeddings is ruled by the dimensions of the largest numbers; a recipe whose bins differ
    in level or spread wants `features.normalise=global_bins`, which makes them comparable. After
    `features.normalise=utterance_bins` all utterances have the same statistics, and nothing is left to tell apart.

    Shape: frames (batch, frames, bins) → embeddings (batch, 2 · bins), rows of unit length.

    Args:
        num_bins: number of bins of a frame.
        projection: whether a linear map follows, from and to as many values, which is the identity at first. It can be
            trained, or whiten what varies within a singer (scripts/fuse_statistics.py).
    """

    def __init__(self, num_bins: int, projection: bool = False) -> None:
        super().__init__()
        require_at_least(1, **{"encoder.num_bins": num_bins})
        self.embedding_size = 2 * num_bins
        self.settings: dict[str, Any] = {"_target_": f"{__name__}.StatisticsEncoder", "num_bins": num_bins}
        self.projection: nn.Module = nn.Identity()
        if projection:
            self.settings["projection"] = True
            self.projection = linear = nn.Linear(2 * num_bins, 2 * num_bins)
            nn.init.eye_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, frames: Float[Tensor, "batch frames bins"]) -> Float[Tensor, "batch embedding"]:
        return normalize(self.projection(self.compute_statistics(frames)).float(), dim=1)

    @staticmethod
    def compute_statistics(frames: Float[Tensor, "batch frames bins"]) -> Float[Tensor, "batch statistics"]:
        """Compute each bin's mean over the frames, then each bin's standard deviation."""
        deviation, mean = torch.std_mean(frames.float(), dim=1, correction=0)
        return torch.cat([mean, deviation], dim=1)
