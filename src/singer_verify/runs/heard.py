"""Whom a model heard in its training, and by whom its best step was chosen, as its card tells."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from singer_verify.evaluation.overlap import MetSingers

NO_RECORDINGS = torch.zeros(0, dtype=torch.int64)


def training_singers(card: dict[str, Any]) -> MetSingers | None:
    """Also of the trainings whose weights this one began with; None where it is not recorded, as of imported weights.

    Args:
        card: see `card.make_card`.
    """
    heard = all_heard(card)
    return _known(heard["singers"], heard["recordings"])


def validation_singers(card: dict[str, Any]) -> MetSingers | None:
    """Those by whom the best step was chosen; None where it is not recorded."""
    return _known(card.get("val_singers", []), card.get("recordings", {}).get("val", NO_RECORDINGS))


def all_heard(card: dict[str, Any]) -> dict[str, Any]:
    """`singers` and `recordings` of a model's trainings, as the card of a model that begins with its weights keeps
    them under `earlier`."""
    before = card.get("earlier", {})
    recordings = card.get("recordings", {}).get("train", NO_RECORDINGS), before.get("recordings", NO_RECORDINGS)
    return {
        "singers": sorted({*card["train_singers"], *before.get("singers", [])}),
        "recordings": torch.unique(torch.cat(recordings)),
    }


def _known(names: list[str], recordings: Int[Tensor, " utterances"]) -> MetSingers | None:
    known = MetSingers.of(names, recordings.tolist())
    return known if known.names or known.recordings else None
