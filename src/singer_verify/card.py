"""What a checkpoint carries besides weights, in plain values, so that it alone is enough to embed audio."""

from typing import Any

from torch import Tensor

CARD_KEY = "singer_verify"
CARD_VERSION = 1


def make_card(
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
        "version": CARD_VERSION,
        "recipe": recipe,
        "encoder": encoder,
        "window_frames": window_frames,
        "train_singers": list(train_singers),
        "val_singers": list(val_singers),
        "recordings": recordings or {},
        "earlier": {},
    }
