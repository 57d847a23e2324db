"""What a checkpoint carries besides weights, in plain values, so that it alone is enough to embed audio."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from singer_verify.evaluation.seen_singers import SeenSingers

METADATA_KEY = "singer_verify"
METADATA_VERSION = 1


def build_model_metadata(
    recipe: dict[str, Any],
    encoder: dict[str, Any],
    window_frames: int,
    train_singers: tuple[str, ...],
    val_singers: tuple[str, ...] = (),
    recordings: dict[str, Tensor] | None = None,
) -> dict[str, Any]:
    """
    What is known of trainings whose weights a model began with, `earlier`, is put in by `runs.lineage`.

    Args:
        recipe: of the feature.
        encoder: settings that rebuild the encoder.
        window_frames: length of an evaluation window.
        train_singers: in the order of their numbers.
        val_singers: on whom the best step was chosen.
        recordings: of the splits `train` and `val`, by what they are known again, see `corpora.identities`.
    """
    return {
        "version": METADATA_VERSION,
        "recipe": recipe,
        "encoder": encoder,
        "window_frames": window_frames,
        "train_singers": list(train_singers),
        "val_singers": list(val_singers),
        "recordings": recordings or {},
        "earlier": {},
    }


EMPTY_RECORDING_IDS = torch.zeros(0, dtype=torch.int64)


def collect_training_singers(card: dict[str, Any]) -> SeenSingers | None:
    """Also of the trainings whose weights this one began with; None where it is not recorded, as of imported weights.

    Args:
        card: see `model_metadata.build_model_metadata`.
    """
    heard = collect_seen_singers(card)
    return _build_seen_singers(heard["singers"], heard["recordings"])


def collect_validation_singers(card: dict[str, Any]) -> SeenSingers | None:
    """Those by whom the best step was chosen; None where it is not recorded."""
    return _build_seen_singers(card.get("val_singers", []), card.get("recordings", {}).get("val", EMPTY_RECORDING_IDS))


def collect_seen_singers(card: dict[str, Any]) -> dict[str, Any]:
    """`singers` and `recordings` of a model's trainings, as the card of a model that begins with its weights keeps
    them under `earlier`."""
    before = card.get("earlier", {})
    recordings = (
        card.get("recordings", {}).get("train", EMPTY_RECORDING_IDS),
        before.get("recordings", EMPTY_RECORDING_IDS),
    )
    return {
        "singers": sorted({*card["train_singers"], *before.get("singers", [])}),
        "recordings": torch.unique(torch.cat(recordings)),
    }


def _build_seen_singers(names: list[str], recordings: Int[Tensor, " utterances"]) -> SeenSingers | None:
    known = SeenSingers.from_names(names, recordings.tolist())
    return known if known.names or known.recordings else None
