"""Margin softmax: predict the training singer from cosines, with a margin that the true singer must win by."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, one_hot

from singer_verify.errors import require_at_least, require_between

MIN_SCALE = 1e-6
MIN_SQUARED_SINE = 1e-6  # the gradient of a sine with respect to the cosine is infinite at 0


class MarginSoftmaxLoss(nn.Module):
    """Cross entropy of scaled cosines of embeddings and directions of the training singers, with a margin.

    The margin lowers the cosine of the true singer while training. Each singer has one direction, or several
    (sub-centres; Deng et al. 2020, "Sub-center ArcFace: boosting face recognition by large-scale noisy web faces"), of
    which the nearest to an utterance counts: a singer with several registers or styles need not fit a single one.

    Shape: embeddings (singers, utterances, embedding), singers (singers,) → {name: (), name/accuracy: (),
    name/margin: ()}; the accuracy is that of the cosines without margin.

    Args:
        num_singers: number of training singers.
        embedding_size: size of the encoder's embeddings.
        scale: factor on the cosines, the inverse of a temperature.
        margin: what the true singer must win by; 0 leaves the cross entropy of scaled cosines.
        warmup_steps: training steps over which the margin grows linearly from 0; 0 takes it whole from the first step.
        num_subcentres: directions of each singer.
    """

    min_utterances = 1
    lr_multiplier = 1.0
    singer_specific = True
    name: str
    max_margin: float

    def __init__(
        self,
        num_singers: int,
        embedding_size: int,
        scale: float = 30.0,
        margin: float = 0.2,
        warmup_steps: int = 0,
        num_subcentres: int = 1,
    ) -> None:
        super().__init__()
        place = f"loss.terms.{self.name}"
        require_at_least(2, **{f"{place}.num_singers": num_singers})
        require_between(MIN_SCALE, 1e6, **{f"{place}.scale": scale})
        require_between(0.0, self.max_margin, **{f"{place}.margin": margin})
        require_at_least(0, **{f"{place}.warmup_steps": warmup_steps})
        require_at_least(1, **{f"{place}.num_subcentres": num_subcentres})
        self.scale, self.full_margin, self.warmup_steps = float(scale), float(margin), warmup_steps
        self.directions = nn.Parameter(torch.empty(num_subcentres, num_singers, embedding_size))
        for directions in self.directions:
            nn.init.xavier_normal_(directions)
        self.set_step(0)

    def set_step(self, step: int) -> None:
        """Set the margin for the training step that follows `step` others."""
        self.margin = self.full_margin * min(1.0, step / self.warmup_steps) if self.warmup_steps else self.full_margin

    def forward(
        self, embeddings: Float[Tensor, "singers utterances embedding"], singers: Int[Tensor, " singers"]
    ) -> dict[str, Float[Tensor, ""]]:
        cosines = self.compute_cosines(embeddings.flatten(0, 1))
        labels = singers.repeat_interleave(embeddings.shape[1])
        is_own = one_hot(labels, cosines.shape[1]).bool()
        logits = self.scale * torch.where(is_own, self.apply_margin(cosines), cosines)
        with torch.no_grad():
            accuracy = (cosines.argmax(dim=1) == labels).float().mean()
        return {
            self.name: cross_entropy(logits, labels),
            f"{self.name}/accuracy": accuracy,
            f"{self.name}/margin": accuracy.new_full((), self.margin),
        }

    def compute_cosines(self, embeddings: Float[Tensor, "batch embedding"]) -> Float[Tensor, "batch singers"]:
        """Compute the cosines of embeddings and each singer's nearest direction."""
        directions = normalize(self.directions, dim=2)
        return (normalize(embeddings, dim=1) @ directions.transpose(1, 2)).amax(dim=0)

    def apply_margin(self, cosines: Float[Tensor, "batch singers"]) -> Float[Tensor, "batch singers"]:
        """Compute what takes the place of the cosines where the singer is the true one; at most these."""
        raise NotImplementedError


class AMSoftmaxLoss(MarginSoftmaxLoss):
    """Wang et al. 2018, "Additive margin softmax for face verification", equation 5: cos θ - m.

    The margin is a difference of cosines, between 0 and 1. See `MarginSoftmaxLoss` for shapes and arguments.
    """

    name = "am"
    max_margin = 1.0

    def apply_margin(self, cosines: Float[Tensor, "batch singers"]) -> Float[Tensor, "batch singers"]:
        return cosines - self.margin


class AAMSoftmaxLoss(MarginSoftmaxLoss):
    """Deng et al. 2019, "ArcFace: additive angular margin loss for deep face recognition", equation 3: cos(θ + m).

    The margin is an angle in radians, between 0 and π/2. Beyond θ = π - m, where cos(θ + m) would rise again and reward
    a larger angle, cos θ - m sin m is taken, as the authors' programs do: it falls with θ everywhere, and has a
    gradient. See `MarginSoftmaxLoss` for shapes and arguments.
    """

    name = "aam"
    max_margin = math.pi / 2

    def apply_margin(self, cosines: Float[Tensor, "batch singers"]) -> Float[Tensor, "batch singers"]:
        sines = (1.0 - cosines.square()).clamp(min=MIN_SQUARED_SINE).sqrt()
        cos_margin, sin_margin = math.cos(self.margin), math.sin(self.margin)
        return torch.where(
            cosines > -cos_margin, cosines * cos_margin - sines * sin_margin, cosines - self.margin * sin_margin
        )
