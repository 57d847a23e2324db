"""Embeddings of a batch to named scalar terms."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn


@runtime_checkable
class LossTerm(Protocol):
    """What every loss offers: called on a batch's embeddings and singers, it gives scalars by name.

    Attributes:
        min_utterances: of a singer in a batch, without which the loss has no meaning.
        rate_factor: the loss's own parameters learn at this multiple of the learning rate.
    """

    min_utterances: int
    rate_factor: float

    def __call__(
        self, embeddings: Float[Tensor, "singers utterances embedding"], singers: Int[Tensor, " singers"]
    ) -> dict[str, Float[Tensor, ""]]: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...
