"""What a checkpoint carries besides weights, in plain values, so that it alone is enough to embed audio."""

from typing import Any

CARD_KEY = "singer_verify"
CARD_VERSION = 1


def make_card(
    recipe: dict[str, Any], encoder: dict[str, Any], window_frames: int, train_singers: tuple[str, ...]
) -> dict[str, Any]:
    """
    Args:
        recipe: of the feature.
        encoder: settings that rebuild the encoder.
        window_frames: length of an evaluation window.
        train_singers: in the order of their numbers.
    """
    return {
        "version": CARD_VERSION,
        "recipe": recipe,
        "encoder": encoder,
        "window_frames": window_frames,
        "train_singers": list(train_singers),
    }
