"""Generalised end-to-end loss: each utterance near its own singer's centroid, far from the others'."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from singer_verify.errors import require_between, require_choice
from singer_verify.losses.batch_shape import require_comparable_utterances

GE2E_FORMS = ("softmax", "contrast")
MIN_SCALE = 1e-6


class GE2ELoss(nn.Module):
    """Wan et al. 2018, "Generalized end-to-end loss for speaker verification", equations 5 to 10.

    The similarity of an utterance and a singer is w cos(embedding, centroid) + b; the centroid of its own singer leaves
    the utterance out. Loss is the mean over utterances.

    Shape: embeddings (singers, utterances, embedding), singers (singers,) → {"ge2e": ()}.

    Args:
        form: "softmax" (equation 6) or "contrast" (equation 7).
        initial_scale: w, positive throughout training.
        initial_offset: b.
        lr_multiplier: w and b learn at this multiple of the optimiser's learning rate.
    """

    min_utterances = 2
    singer_specific = False

    def __init__(
        self,
        form: str = "softmax",
        initial_scale: float = 10.0,
        initial_offset: float = -5.0,
        lr_multiplier: float = 1.0,
    ) -> None:
        super().__init__()
        require_choice(GE2E_FORMS, **{"loss.terms.ge2e.form": form})
        require_between(MIN_SCALE, 1e6, **{"loss.terms.ge2e.initial_scale": initial_scale})
        require_between(0.0, 1e6, **{"loss.terms.ge2e.lr_multiplier": lr_multiplier})
        self.form, self.lr_multiplier = form, float(lr_multiplier)
        self.scale = nn.Parameter(torch.tensor(float(initial_scale)))
        self.offset = nn.Parameter(torch.tensor(float(initial_offset)))

    def forward(
        self, embeddings: Float[Tensor, "singers utterances embedding"], singers: Int[Tensor, " singers"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the loss of a batch as `ge2e`.

        Raises:
            SingerVerifyError: fewer than two singers, or fewer than two utterances of each.
        """
        require_comparable_utterances("GE2E", embeddings)
        similarities = self.compute_similarities(embeddings)
        own = torch.arange(embeddings.shape[0], device=embeddings.device).repeat_interleave(embeddings.shape[1])
        if self.form == "softmax":
            return {"ge2e": cross_entropy(similarities.flatten(0, 1), own)}
        probabilities = similarities.flatten(0, 1).sigmoid()
        is_own = torch.nn.functional.one_hot(own, embeddings.shape[0]).bool()
        nearest_other = probabilities.masked_fill(is_own, 0.0).amax(dim=1)
        return {"ge2e": (1.0 - probabilities[is_own] + nearest_other).mean()}

    def compute_similarities(
        self, embeddings: Float[Tensor, "singers utterances embedding"]
    ) -> Float[Tensor, "singers utterances singers"]:
        """Compute the scaled cosines of every utterance and every singer's centroid (equations 5, 8 and 9)."""
        if self.training:
            with torch.no_grad():
                self.scale.clamp_(min=MIN_SCALE)
        num_utterances = embeddings.shape[1]
        units = normalize(embeddings, dim=2)
        sums = embeddings.sum(dim=1)
        cosines = units @ normalize(sums, dim=1).T
        others = normalize(sums[:, None] - embeddings, dim=2)
        own_cosines = (units * others).sum(dim=2)
        is_own = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)[:, None].expand(
            -1, num_utterances, -1
        )
        cosines = torch.where(is_own, own_cosines[:, :, None], cosines)
        return self.scale * cosines + self.offset
