"""What goes wrong in the middle of a training, said with the step, the utterances and the last good checkpoint."""

import errno
import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from singer_verify.data.datamodule import SingerDataModule
from singer_verify.errors import SingerVerifyError, require_choice
from singer_verify.runs.checkpoints import LAST_CHECKPOINT
from singer_verify.training.module import Verifier
from singer_verify.worker_processes import is_worker_death

log = logging.getLogger(__name__)

ON_NAN_CHOICES = ("stop", "warn")


class NonFiniteGuard(pl.Callback):
    """Looks at each step's loss and gradient; what follows from one that is no number is never saved.

    Args:
        on_nan: "stop" ends the training where one is NaN or infinite, "warn" says so and goes on.
    """

    def __init__(self, on_nan: str = "stop") -> None:
        require_choice(ON_NAN_CHOICES, **{"callbacks.non_finite.on_nan": on_nan})
        self.on_nan = on_nan

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop or warn where the step's loss or gradient is not finite.

        Raises:
            SingerVerifyError: naming the step, the batch's utterances and the last good checkpoint.
        """
        figures = {"loss": outputs["loss"]}
        if getattr(trainer.precision_plugin, "scaler", None) is None:  # which leaves out steps of infinite gradients
            figures["norm of the gradient"] = _get_gradient_norm(pl_module)
        if torch.stack([figure.detach().float().cpu() for figure in figures.values()]).isfinite().all():
            return
        found = ", ".join(f"{name} {float(figure):g}" for name, figure in figures.items())
        utterances = format_batch_utterances(trainer, batch_idx)
        if self.on_nan == "warn":
            log.warning("step %d: %s, with the batch of %s.", trainer.global_step, found, utterances)
            return
        raise SingerVerifyError(
            f"step {trainer.global_step}: {found}; {format_last_checkpoint(trainer)}; look at the recordings of "
            f"this batch, or lower optimizer.lr: {utterances}."
        )


def format_last_checkpoint(trainer: pl.Trainer) -> str:
    """Name the checkpoint that a training which failed can go on from."""
    last = Path(trainer.default_root_dir) / LAST_CHECKPOINT
    return f"the last good checkpoint is {last}" if last.exists() else "no checkpoint was written before"


def convert_to_user_error(error: Exception, trainer: pl.Trainer) -> SingerVerifyError | None:
    """What to say where a process that assembles batches was killed, or the disk is full; None for other errors."""
    try:
        return _convert_known_error(error, trainer)
    except RuntimeError as again:  # torch's signal handler tells of the same death once more, wherever it finds us
        if not is_worker_death(again):
            raise
        return _convert_known_error(error, trainer)


def _convert_known_error(error: Exception, trainer: pl.Trainer) -> SingerVerifyError | None:
    if is_worker_death(error):
        step = trainer.fit_loop.epoch_loop.batch_progress.total.ready
        return SingerVerifyError(
            f"step {step}: a loader worker died ({' '.join(str(error).split())}); {format_last_checkpoint(trainer)}; "
            f"continue with fewer data.num_workers if memory ran out; the batch at hand: "
            f"{format_batch_utterances(trainer, step)}."
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return SingerVerifyError(
            f"{error.strerror}: {format_last_checkpoint(trainer)}; free some space and continue from it."
        )
    return None


def format_batch_utterances(trainer: pl.Trainer, batch_idx: int) -> str:
    """Paths of the utterances of a training batch."""
    data = getattr(trainer, "datamodule", None)
    assert isinstance(data, SingerDataModule)
    return ", ".join(sorted(set(data.list_batch_utterances(batch_idx))))


def _get_gradient_norm(pl_module: pl.LightningModule) -> torch.Tensor:
    assert isinstance(pl_module, Verifier)
    return torch.zeros(()) if pl_module.gradient_norm is None else pl_module.gradient_norm
