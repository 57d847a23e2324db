"""Checkpoints written, whole or not at all."""

from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO  # takes seconds: readers do without this file

from singer_verify.card import CARD_KEY
from singer_verify.errors import SingerVerifyError
from singer_verify.runs.checkpoints import BEST, EARLIER_NAMES, SAVED_MODEL, encoder_state, read_checkpoint
from singer_verify.whole_files import parts_of


class WholeFileCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, written to a neighbouring file first and then renamed."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with parts_of(path) as (part,):
                torch.save(checkpoint, part)
        except (OSError, RuntimeError) as error:
            before = "the one before is still there" if path.exists() else "there is none before it"
            raise SingerVerifyError(f"{path}: cannot be written ({error}); {before}; free some space.") from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path))


def export_saved_model(run: Path) -> None:
    """Write the best model of a run as `saved_model.pt`: `step`, `model_state`, `optimizer_state`, and our card.

    The weights bear the names of earlier singer encoders: `lstm.*`, `linear.*`, `similarity_weight`,
    `similarity_bias`, `class_layer.*`.
    """
    checkpoint = read_checkpoint(run / BEST)
    weights = checkpoint["state_dict"]
    losses = {
        earlier: weights[name] if weights[name].ndim else weights[name].reshape(1)
        for name, earlier in EARLIER_NAMES.items()
        if name in weights
    }
    saved = {
        "step": checkpoint["global_step"],
        "model_state": encoder_state(checkpoint) | losses,
        "optimizer_state": next(iter(checkpoint["optimizer_states"]), {}),  # imported weights bring none
        CARD_KEY: checkpoint[CARD_KEY],
    }
    WholeFileCheckpoints().save_checkpoint(saved, run / SAVED_MODEL)
