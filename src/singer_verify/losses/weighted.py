"""Embeddings of a batch to named scalar terms."""

from collections.abc import Iterator, Mapping
from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from singer_verify.distributed import gather_with_gradients
from singer_verify.errors import SingerVerifyError, require_between


@runtime_checkable
class LossTerm(Protocol):
    """What every loss offers: called on a batch's embeddings and singers, it gives scalars by name.

    Attributes:
        min_utterances: of a singer in a batch, without which the loss has no meaning.
        lr_multiplier: the loss's own parameters learn at this multiple of the learning rate.
    """

    min_utterances: int
    lr_multiplier: float

    def __call__(
        self, embeddings: Float[Tensor, "singers utterances embedding"], singers: Int[Tensor, " singers"]
    ) -> dict[str, Float[Tensor, ""]]: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


class WeightedLoss(nn.Module):
    """The weighted sum of named terms, computed in float32 whatever the precision of the encoder.

    Shape: embeddings (singers, utterances, embedding), singers (singers,) → {"loss": (), each term's outputs: ()}.

    Args:
        terms: losses by name; each returns its own name among its outputs, and may return figures to watch.
        weights: of each term in the sum.
        gather: whether devices that train together take the loss of the singers of all of them, as one device with a
            batch of that size would, or each of its own and the mean of these.

    Raises:
        SingerVerifyError: terms and weights are not for the same names.
    """

    def __init__(self, terms: Mapping[str, LossTerm], weights: Mapping[str, float], gather: bool = False) -> None:
        super().__init__()
        if set(terms) != set(weights) or not terms:
            raise SingerVerifyError(
                f"loss.weights are for {sorted(weights)}, loss.terms are {sorted(terms)}; expected the same names."
            )
        require_between(0.0, 1e6, **{f"loss.weights.{name}": weight for name, weight in weights.items()})
        self.terms = nn.ModuleDict(cast(Mapping[str, nn.Module], terms))
        self.gather = gather
        self.weights = {name: float(weight) for name, weight in weights.items()}

    def forward(
        self, embeddings: Float[Tensor, "singers utterances embedding"], singers: Int[Tensor, " singers"]
    ) -> dict[str, Float[Tensor, ""]]:
        outputs: dict[str, Tensor] = {}
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            if self.gather:
                embeddings, singers = gather_with_gradients(embeddings), gather_with_gradients(singers)
            for term in self.terms.values():
                outputs |= term(embeddings, singers)
        total = torch.stack([weight * outputs[name] for name, weight in self.weights.items()]).sum()
        return {"loss": total, **outputs}

    def require_utterances(self, utterances_per_singer: int) -> None:
        """Refuse a batch shape that a term cannot use, before any training.

        Raises:
            SingerVerifyError: naming the term and what it needs.
        """
        for name, term in self._iterate_terms():
            if utterances_per_singer < term.min_utterances:
                raise SingerVerifyError(
                    f"data.utterances_per_singer={utterances_per_singer}: loss term {name} compares utterances of the "
                    f"same singer and needs at least {term.min_utterances}."
                )

    def parameter_groups(self) -> Iterator[tuple[float, list[nn.Parameter]]]:
        """Parameters of each term with the multiple of the learning rate at which they learn."""
        for _, term in self._iterate_terms():
            yield term.lr_multiplier, list(term.parameters())

    def _iterate_terms(self) -> Iterator[tuple[str, LossTerm]]:
        for name, term in self.terms.items():
            yield name, cast(LossTerm, term)
