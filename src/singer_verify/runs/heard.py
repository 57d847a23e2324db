"""Whom a model heard in its training, and by whom its best step was chosen, as its card tells."""

from typing import Any

from singer_verify.evaluation.overlap import KnownSingers


def training_singers(card: dict[str, Any]) -> KnownSingers | None:
    """None where it is not recorded, as of imported weights.

    Args:
        card: see `card.make_card`.
    """
    return _known(card.get("train_singers"), card, "train")


def validation_singers(card: dict[str, Any]) -> KnownSingers | None:
    """Those by whom the best step was chosen; None where it is not recorded."""
    return _known(card.get("val_singers"), card, "val")


def _known(names: list[str] | None, card: dict[str, Any], split: str) -> KnownSingers | None:
    recordings = card.get("recordings", {}).get(split)
    known = KnownSingers.of(names or [], [] if recordings is None else recordings.tolist())
    return known if known.names or known.recordings else None
