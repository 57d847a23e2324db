"""Distillation losses: embeddings like a teacher's, and cosines like the teacher's."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from singer_verify.errors import SingerVerifyError


def fit_targets(targets: Float[Tensor, "singers target"], embedding_size: int) -> Float[Tensor, "singers embedding"]:
    """Bring a teacher's embeddings to the student's size, with cosines as they were or as close as possible.

    Smaller ones are filled up with zeros, which leaves all cosines as they are. Of larger ones the principal components
    about the origin are kept. So no layer is needed between student and teacher, and cosines of the student's own
    embeddings are those that learn.

    Args:
        targets: (singers, target), one embedding per row.
        embedding_size: size of the student's embeddings.
    """
    units = normalize(targets.float(), dim=1)
    if targets.shape[1] > embedding_size:
        _, axes = torch.linalg.eigh((units.T @ units).double())  # ascending
        units = units @ axes[:, -embedding_size:].flip(1).to(units.dtype)
    return normalize(pad(units, (0, embedding_size - units.shape[1])), dim=1)


class CosineDistillationLoss(nn.Module):
    """Mean cosine distance of an embedding to the teacher's embedding of the same excerpt.

    Shape: embeddings (singers, utterances, embedding), singers (singers,) → {"cosine": ()}.

    Args:
        targets: the teacher's embedding of each training singer, see `fit_targets`.
        embedding_size: size of the student's embeddings.
    """

    min_utterances = 1
    lr_multiplier = 1.0
    singer_specific = True
    targets: Tensor

    def __init__(self, targets: Float[Tensor, "singers target"], embedding_size: int) -> None:
        super().__init__()
        self.register_buffer("targets", fit_targets(targets, embedding_size), persistent=False)

    def forward(
        self, embeddings: Float[Tensor, "singers utterances embedding"], singers: Int[Tensor, " singers"]
    ) -> dict[str, Float[Tensor, ""]]:
        cosines = (normalize(embeddings, dim=2) * self.targets[singers][:, None]).sum(dim=2)
        return {"cosine": 1.0 - cosines.mean()}


class RelationalDistillationLoss(nn.Module):
    """Difference between the student's and the teacher's cosines of all pairs of excerpts in a batch.

    Park et al. 2019, "Relational knowledge distillation", and Tung and Mori 2019, "Similarity-preserving knowledge
    distillation"; here with cosines, by which embeddings are scored: the mean squared difference, over pairs of two
    excerpts.

    Shape: embeddings (singers, utterances, embedding), singers (singers,) → {"relational": ()}.

    Args:
        targets: the teacher's embedding of each training singer.
    """

    min_utterances = 1
    lr_multiplier = 1.0
    singer_specific = True
    targets: Tensor

    def __init__(self, targets: Float[Tensor, "singers target"]) -> None:
        super().__init__()
        self.register_buffer("targets", normalize(targets.float(), dim=1), persistent=False)

    def forward(
        self, embeddings: Float[Tensor, "singers utterances embedding"], singers: Int[Tensor, " singers"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the loss of a batch as `relational`.

        Raises:
            SingerVerifyError: fewer than two singers.
        """
        num_singers, num_utterances = embeddings.shape[:2]
        if num_singers < 2:
            raise SingerVerifyError(f"loss term relational got {num_singers} singers; it compares at least 2.")
        units = normalize(embeddings, dim=2).flatten(0, 1)
        teacher = self.targets[singers].repeat_interleave(num_utterances, dim=0)
        numbers = torch.arange(num_singers, device=units.device).repeat_interleave(num_utterances)
        is_pair = numbers[:, None] != numbers
        differences = (units @ units.T - teacher @ teacher.T)[is_pair]
        return {"relational": differences.square().mean()}
