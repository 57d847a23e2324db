"""Supervised contrastive loss: every other utterance of the singer before all utterances of the batch."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from singer_verify.errors import require_between
from singer_verify.losses.batch_shape import require_comparable_utterances


class SupervisedContrastiveLoss(nn.Module):
    """Khosla et al. 2020, "Supervised contrastive learning", equation 2 (L_out), averaged over utterances.

    Each utterance tells each other utterance of its singer from all others in the batch: the cross entropy of cosines
    divided by the temperature is averaged over the singer's other utterances. There are no centroids.

    Shape: embeddings (singers, utterances, embedding), singers (singers,) → {"supcon": ()}.

    Args:
        temperature: cosines are divided by it; the smaller, the more the hardest pairs count.
    """

    min_utterances = 2
    lr_multiplier = 1.0
    singer_specific = False

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        require_between(1e-3, 1e3, **{"loss.terms.supcon.temperature": temperature})
        self.temperature = float(temperature)

    def forward(
        self, embeddings: Float[Tensor, "singers utterances embedding"], singers: Int[Tensor, " singers"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the loss of a batch as `supcon`.

        Raises:
            SingerVerifyError: fewer than two singers, or fewer than two utterances of each.
        """
        require_comparable_utterances("SupCon", embeddings)
        units = normalize(embeddings.flatten(0, 1), dim=1)
        labels = singers.repeat_interleave(embeddings.shape[1])
        is_itself = torch.eye(len(units), dtype=torch.bool, device=units.device)
        is_positive = (labels[:, None] == labels).logical_and(~is_itself)
        similarities = (units @ units.T / self.temperature).masked_fill(is_itself, -torch.inf)
        log_probabilities = similarities.log_softmax(dim=1).masked_fill(~is_positive, 0.0)
        return {"supcon": -(log_probabilities.sum(dim=1) / is_positive.sum(dim=1)).mean()}
