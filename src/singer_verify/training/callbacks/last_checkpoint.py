"""When `last.ckpt` is written: only between two steps, so that a training continues from it exactly."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from singer_verify.errors import require_at_least


class LastCheckpoint(pl.Callback):
    """Writes `last.ckpt` at the start, every `checkpoint_every` steps, around each validation, and at the end.

    Before a validation means before the step that leads to it: a training that is stopped while it validates repeats
    that step and the validation in full.

    Args:
        path: of the file.
        checkpoint_every: steps from one to the next.
    """

    def __init__(self, path: Path, checkpoint_every: int) -> None:
        require_at_least(1, checkpoint_every=checkpoint_every)
        self.path, self.checkpoint_every = path, checkpoint_every
        self.has_validated = False

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if is_between_steps(trainer) and (self.has_validated or self._is_due(trainer)):
            trainer.save_checkpoint(self.path)
            self.has_validated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.has_validated = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.has_validated:
            trainer.save_checkpoint(self.path)

    def _is_due(self, trainer: pl.Trainer) -> bool:
        step = trainer.global_step
        return step % self.checkpoint_every == 0 or step + 1 == trainer.max_steps or self._is_validation_next(trainer)

    def _is_validation_next(self, trainer: pl.Trainer) -> bool:
        done = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        interval = int(trainer.val_check_batch or 1)
        return (done + trainer.accumulate_grad_batches) // interval > done // interval


def is_between_steps(trainer: pl.Trainer) -> bool:
    """Whether, at the start of a batch, no gradient has been gathered for the step to come."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.completed % trainer.accumulate_grad_batches == 0
