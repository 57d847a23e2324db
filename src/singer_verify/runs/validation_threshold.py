"""The threshold that a training's own validation found, as its checkpoints carry it."""

from typing import Any

HISTORY_KEY = "MetricHistory"  # `runs.history`, which is not imported here: Lightning takes seconds


def validation_threshold(checkpoint: dict[str, Any]) -> tuple[float, int] | None:
    """The cosine at the equal error rate of the validation of this very model, and the number of singers it heard.

    None where the model was not validated at its step, or the checkpoint does not tell: a `saved_model.pt`, imported
    weights, or one of an earlier version.

    Args:
        checkpoint: content of a Lightning checkpoint.
    """
    history = checkpoint.get("callbacks", {}).get(HISTORY_KEY, {})
    for figures in reversed(history.get("figures", [])):
        if figures["step"] == checkpoint["global_step"] and "val/threshold" in figures and history.get("num_singers"):
            return float(figures["val/threshold"]), int(history["num_singers"])
    return None
