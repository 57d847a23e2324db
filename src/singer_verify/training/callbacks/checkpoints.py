"""The checkpoints of a training: when `best.ckpt` and `last.ckpt` are written, and how."""

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint

from singer_verify.errors import require_at_least
from singer_verify.runs.checkpoints import read_checkpoint, write_checkpoint
from singer_verify.runs.folder import BEST_CHECKPOINT, LAST_CHECKPOINT
from singer_verify.training.lightning_internals import count_completed_batches, use_averaged_weights

log = logging.getLogger(__name__)
MODEL_PATH_KEYS = ("best_model_path", "kth_best_model_path", "last_model_path")


class BestCheckpoint(ModelCheckpoint):
    """Write `best.ckpt`, weights and metadata alone; the best model stays known after its run folder was moved.

    Args:
        monitor: metric that decides which model is best.
        mode: "min" or "max", which of its values is best.
    """

    def __init__(self, monitor: str = "val/eer", mode: str = "min") -> None:
        name = BEST_CHECKPOINT.stem
        super().__init__(
            filename=name, monitor=monitor, mode=mode, save_weights_only=True, enable_version_counter=False
        )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.dirpath = str(Path(trainer.default_root_dir) / BEST_CHECKPOINT.parent)
        super().setup(trainer, pl_module, stage)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with use_averaged_weights(trainer, pl_module):  # those that were validated; Lightning has swapped them back
            super().on_validation_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        here = Path(str(self.dirpath))
        paths = {name: str(here / Path(state_dict[name]).name) for name in MODEL_PATH_KEYS if state_dict[name]}
        models = {str(here / Path(path).name): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | paths | {"best_k_models": models, "dirpath": self.dirpath})


class LastCheckpoint(pl.Callback):
    """Write `last.ckpt` at the start, every `every_n_steps` steps, around each validation, and at the end.

    The checkpoint before a validation is written before the step that leads to it: a training that is stopped during
    validation repeats that step and the whole validation.

    Args:
        every_n_steps: number of steps between two writes.
    """

    def __init__(self, every_n_steps: int = 100) -> None:
        require_at_least(1, **{"callbacks.last.every_n_steps": every_n_steps})
        self.every_n_steps = every_n_steps
        self.has_validated = False

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if is_between_steps(trainer) and (self.has_validated or self._is_due(trainer)):
            _save_last_checkpoint(trainer)
            self.has_validated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.has_validated = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.has_validated:
            _save_last_checkpoint(trainer)

    def _is_due(self, trainer: pl.Trainer) -> bool:
        step = trainer.global_step
        return step % self.every_n_steps == 0 or step + 1 == trainer.max_steps or self._is_validation_next(trainer)

    def _is_validation_next(self, trainer: pl.Trainer) -> bool:
        done = count_completed_batches(trainer)
        interval = int(trainer.val_check_batch or 1)
        return (done + trainer.accumulate_grad_batches) // interval > done // interval


def warn_of_missing_checkpoints(trainer: pl.Trainer) -> None:
    """Warn of what a run will lack if its checkpoint callbacks were removed."""
    if not any(isinstance(callback, LastCheckpoint) for callback in trainer.callbacks):  # type: ignore[attr-defined]
        log.warning("callbacks.last is missing: no %s is written, so this run cannot be resumed.", LAST_CHECKPOINT)
    if not any(isinstance(callback, BestCheckpoint) for callback in trainer.callbacks):  # type: ignore[attr-defined]
        log.warning("callbacks.best is missing: no %s is written; use %s.", BEST_CHECKPOINT, LAST_CHECKPOINT)


def _save_last_checkpoint(trainer: pl.Trainer) -> None:
    trainer.save_checkpoint(Path(trainer.default_root_dir) / LAST_CHECKPOINT)


def is_between_steps(trainer: pl.Trainer) -> bool:
    """Return whether, at the start of a batch, no gradient has been accumulated for the next step."""
    return count_completed_batches(trainer) % trainer.accumulate_grad_batches == 0


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints to a neighbouring file and rename it; read them with `weights_only=True`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path))
