"""Classification loss: predict the training singer from the embedding."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from singer_verify.errors import require_at_least


class ClassificationLoss(nn.Module):
    """Cross entropy of a linear layer over the training singers; never applied to validation singers.

    Shape: embeddings (singers, utterances, embedding), singers (singers,) → {"ce": (), "ce/accuracy": ()}.

    Args:
        num_singers: number of training singers.
        embedding_size: size of the encoder's embeddings.
    """

    min_utterances = 1
    lr_multiplier = 1.0
    singer_specific = True

    def __init__(self, num_singers: int, embedding_size: int) -> None:
        super().__init__()
        require_at_least(2, **{"loss.terms.ce.num_singers": num_singers})
        self.class_layer = nn.Linear(embedding_size, num_singers)

    def forward(
        self, embeddings: Float[Tensor, "singers utterances embedding"], singers: Int[Tensor, " singers"]
    ) -> dict[str, Float[Tensor, ""]]:
        logits = self.class_layer(embeddings.flatten(0, 1))
        labels = singers.repeat_interleave(embeddings.shape[1])
        with torch.no_grad():
            accuracy = (logits.argmax(dim=1) == labels).float().mean()
        return {"ce": cross_entropy(logits, labels), "ce/accuracy": accuracy}
