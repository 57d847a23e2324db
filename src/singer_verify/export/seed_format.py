"""The best model of a run as `saved_model.pt`, in the format of the seed singer encoders."""

from pathlib import Path

from singer_verify.runs.checkpoints import (
    LEGACY_PARAMETER_NAMES,
    extract_encoder_state,
    read_checkpoint,
    write_checkpoint,
)
from singer_verify.runs.folder import BEST_CHECKPOINT, SAVED_MODEL
from singer_verify.runs.model_metadata import METADATA_KEY


def export_saved_model(run: Path) -> None:
    """Write the best model of a run as `saved_model.pt`: `step`, `model_state`, and the metadata.

    The weights have the names of earlier singer encoders: `lstm.*`, `linear.*`, `similarity_weight`,
    `similarity_bias`, `class_layer.*`.
    """
    checkpoint = read_checkpoint(run / BEST_CHECKPOINT)
    weights = checkpoint["state_dict"]
    losses = {
        earlier: weights[name] if weights[name].ndim else weights[name].reshape(1)
        for name, earlier in LEGACY_PARAMETER_NAMES.items()
        if name in weights
    }
    saved = {
        "step": checkpoint["global_step"],
        "model_state": extract_encoder_state(checkpoint) | losses,
        METADATA_KEY: checkpoint[METADATA_KEY],
    }
    write_checkpoint(saved, run / SAVED_MODEL)
