"""Turn the embeddings of a batch into named scalars: the weighted sum of exchangeable terms."""

import copy
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from singer_verify.errors import SingerVerifyError, require_attributes, require_between

TERM_ATTRIBUTES = {
    "min_utterances": "the fewest utterances per singer in a batch, an int",
    "lr_multiplier": "a factor on the learning rate of the term's own parameters, a float",
    "singer_specific": "whether the term knows the training singers by number, a bool",
}


@runtime_checkable
class LossTerm(Protocol):
    """One term of the loss: an `nn.Module` that maps a batch's embeddings and singers to named scalars.

    Law: the outputs are named after the term (`aam`, `aam/accuracy` for `loss.terms.aam`); the one that bears its name
    is weighted and minimised, the others are logged. Embeddings have unit rows and are float32; the value does not
    depend on the order of the singers in the batch.

    A singer-specific term, such as a classifier, takes `num_singers` when it is constructed, and fine-tuning on other
    singers drops its parameters. A term that takes `embedding_size` is given the encoder's, one that takes `targets` a
    teacher's embedding of each training singer.

    A term that changes in the course of the training, such as a margin that grows, has a method `set_step(step)` as
    well. It is called before each training step with the number of optimiser steps that the run has done: 0 at first,
    also where the run begins with another's weights. What the term does must follow from that number alone, not from a
    count of its own, so that a resumed training continues exactly.

    Shape: embeddings (singers, utterances, embedding), singers (singers,) → {name: ()}.

    Attributes:
        min_utterances: fewest utterances per singer in a batch for which the term is defined.
        lr_multiplier: factor on the learning rate of the term's own parameters.
        singer_specific: whether the parameters belong to the training singers.

    Example:
        class PullTogether(nn.Module):
            min_utterances, lr_multiplier, singer_specific = 2, 1.0, False

            def forward(self, embeddings, singers):
                return {"pull": 1 - embeddings.mean(dim=1).norm(dim=1).mean()}
    """

    min_utterances: int
    lr_multiplier: float
    singer_specific: bool

    def __call__(
        self, embeddings: Float[Tensor, "singers utterances embedding"], singers: Int[Tensor, " singers"]
    ) -> dict[str, Float[Tensor, ""]]: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


class WeightedLoss(nn.Module):
    """The weighted sum of named terms, computed in float32 whatever the precision of the encoder.

    Shape: embeddings (singers, utterances, embedding), singers (singers,) → {"loss": (), each term's outputs: ()}.

    Args:
        terms: terms by name: modules, or settings with `_target_` from which they are built.
        weights: weight of each term in the sum.
        gather: whether devices that train together take the loss over the singers of all of them, as one device with a
            batch of that size would, instead of each over its own singers, averaged; the training gathers them.
        num_singers: number of training singers, for terms whose constructor takes it.
        embedding_size: size of the encoder's embeddings, for terms whose constructor takes it.
        targets: a row for each training singer, for terms whose constructor takes it: a teacher's embedding.

    Raises:
        SingerVerifyError: terms and weights have different names, or a term lacks what `LossTerm` asks for.
    """

    def __init__(
        self,
        terms: Mapping[str, Any],
        weights: Mapping[str, float],
        gather: bool = False,
        num_singers: int | None = None,
        embedding_size: int | None = None,
        targets: Float[Tensor, "singers target"] | None = None,
    ) -> None:
        super().__init__()
        if set(terms) != set(weights) or not terms:
            raise SingerVerifyError(
                f"loss.weights are for {sorted(weights)}, loss.terms are {sorted(terms)}; expected the same names."
            )
        require_between(0.0, 1e6, **{f"loss.weights.{name}": weight for name, weight in weights.items()})
        from_data = {"num_singers": num_singers, "embedding_size": embedding_size, "targets": targets}
        self.terms = nn.ModuleDict()
        for name, term in terms.items():
            built = _build_term(name, term, from_data) if isinstance(term, Mapping) else term
            if not isinstance(built, nn.Module):
                raise SingerVerifyError(f"loss.terms.{name}: is a {type(built).__name__}; expected an nn.Module.")
            require_attributes(f"loss.terms.{name}", built, TERM_ATTRIBUTES)
            self.terms[name] = built
        self.gather = gather
        self.weights = {name: float(weight) for name, weight in weights.items()}

    def forward(
        self, embeddings: Float[Tensor, "singers utterances embedding"], singers: Int[Tensor, " singers"]
    ) -> dict[str, Float[Tensor, ""]]:
        outputs: dict[str, Tensor] = {}
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            for term in self.terms.values():
                outputs |= term(embeddings, singers)
        total = torch.stack([weight * outputs[name] for name, weight in self.weights.items()]).sum()
        return {"loss": total, **outputs}

    def set_step(self, step: int) -> None:
        """Tell the terms that want to know it how many training steps were done before the one that follows."""
        for term in self.terms.values():
            if callable(set_step := getattr(term, "set_step", None)):
                set_step(step)

    def require_utterances(self, utterances_per_singer: int) -> None:
        """Refuse a batch shape that a term cannot use, before any training.

        Raises:
            SingerVerifyError: naming the term and what it needs.
        """
        for name, term in self.iterate_terms():
            if utterances_per_singer < term.min_utterances:
                raise SingerVerifyError(
                    f"data.utterances_per_singer={utterances_per_singer}: loss term {name} compares utterances of the "
                    f"same singer and needs at least {term.min_utterances}."
                )

    def require_named_outputs(self, embedding_size: int) -> None:
        """Refuse a term whose outputs do not bear its name, by trying a copy of it on two singers.

        Raises:
            SingerVerifyError: naming the term and its outputs.
        """
        for name, term in self.iterate_terms():
            embeddings = torch.eye(2, embedding_size)[:, None].repeat(1, max(term.min_utterances, 2), 1)
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                outputs = copy.deepcopy(term)(embeddings, torch.arange(2))
            is_named = isinstance(outputs, dict) and all(key.split("/")[0] == name for key in outputs)
            if not is_named or name not in outputs:
                description = ", ".join(outputs) if isinstance(outputs, dict) else type(outputs).__name__
                raise SingerVerifyError(
                    f"loss.terms.{name}: returns {description}; expected scalars named {name} and, to be logged only, "
                    f"{name}/...; rename the term in the yaml or its outputs."
                )

    def parameter_groups(self) -> Iterator[tuple[float, list[nn.Parameter]]]:
        """Iterate over the terms' learning-rate multipliers and parameters."""
        for _, term in self.iterate_terms():
            yield term.lr_multiplier, list(term.parameters())

    def iterate_terms(self) -> Iterator[tuple[str, LossTerm]]:
        for name, term in self.terms.items():
            yield name, cast(LossTerm, term)


def _build_term(name: str, settings: Mapping[str, Any], from_data: Mapping[str, Any]) -> Any:
    """Construct a term from its settings and, of what the data decide, what its constructor takes."""
    from hydra.utils import get_class, instantiate  # half a second that loading a model does not need

    parameters = inspect.signature(get_class(str(settings.get("_target_")))).parameters
    given = {key: value for key, value in from_data.items() if key in parameters and key not in settings}
    missing = [key for key, value in given.items() if value is None]
    if missing == ["targets"]:
        raise SingerVerifyError(
            f"loss.terms.{name}: learns a teacher's embeddings, and these data have none; take data=voices with "
            f"teacher=..., as experiment=distil does, or another loss."
        )
    if missing:
        raise SingerVerifyError(f"loss.terms.{name}: takes {missing[0]}; pass it to WeightedLoss.")
    return instantiate(dict(settings), **given)
