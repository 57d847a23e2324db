"""Angular prototypical loss: the last utterance of each singer finds the mean of the same singer's others."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from singer_verify.errors import require_between
from singer_verify.losses.batch_shape import require_comparable_utterances
from singer_verify.losses.ge2e import MIN_SCALE


class AngularPrototypicalLoss(nn.Module):
    """Chung et al. 2020, "In defence of metric learning for speaker recognition", section 2.2.

    The last utterance of each singer is the query, the mean of the others the prototype. The similarity of a query and
    a prototype is w cos(query, prototype) + b, and the loss the cross entropy of finding the query's own singer among
    those of the batch. Which utterance comes last is drawn anew for each batch.

    Shape: embeddings (singers, utterances, embedding), singers (singers,) → {"angular": (), "angular/accuracy": ()}.

    Args:
        initial_scale: w, positive throughout training.
        initial_offset: b.
        lr_multiplier: w and b learn at this multiple of the optimiser's learning rate.
    """

    min_utterances = 2
    singer_specific = False

    def __init__(self, initial_scale: float = 10.0, initial_offset: float = -5.0, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        require_between(MIN_SCALE, 1e6, **{"loss.terms.angular.initial_scale": initial_scale})
        require_between(-1e6, 1e6, **{"loss.terms.angular.initial_offset": initial_offset})
        require_between(0.0, 1e6, **{"loss.terms.angular.lr_multiplier": lr_multiplier})
        self.lr_multiplier = float(lr_multiplier)
        self.scale = nn.Parameter(torch.tensor(float(initial_scale)))
        self.offset = nn.Parameter(torch.tensor(float(initial_offset)))

    def forward(
        self, embeddings: Float[Tensor, "singers utterances embedding"], singers: Int[Tensor, " singers"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the loss of a batch as `angular`.

        Raises:
            SingerVerifyError: fewer than two singers, or fewer than two utterances of each.
        """
        require_comparable_utterances("The angular prototypical loss", embeddings)
        if self.training:
            with torch.no_grad():
                self.scale.clamp_(min=MIN_SCALE)
        queries = normalize(embeddings[:, -1], dim=1)
        prototypes = normalize(embeddings[:, :-1].mean(dim=1), dim=1)
        similarities = self.scale * (queries @ prototypes.T) + self.offset
        own = torch.arange(len(queries), device=queries.device)
        with torch.no_grad():
            accuracy = (similarities.argmax(dim=1) == own).float().mean()
        return {"angular": cross_entropy(similarities, own), "angular/accuracy": accuracy}
