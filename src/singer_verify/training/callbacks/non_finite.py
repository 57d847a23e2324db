"""A guard against losses and gradients that are NaN or infinite."""

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from singer_verify.data.datamodule import SingerDataModule
from singer_verify.errors import SingerVerifyError, require_choice
from singer_verify.runs.folder import LAST_CHECKPOINT
from singer_verify.training.module import Verifier

log = logging.getLogger(__name__)

ON_NAN_CHOICES = ("stop", "warn")


class NonFiniteGuard(pl.Callback):
    """Check each step's loss and gradient, so that nothing computed from a non-finite one is ever saved.

    Args:
        on_nan: "stop" ends the training at a NaN or infinite value, "warn" logs a warning and continues.
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
        description = ", ".join(f"{name} {float(figure):g}" for name, figure in figures.items())
        utterances = format_batch_utterances(trainer, batch_idx)
        if self.on_nan == "warn":
            log.warning("step %d: %s, with the batch of %s.", trainer.global_step, description, utterances)
            return
        raise SingerVerifyError(
            f"step {trainer.global_step}: {description}; {format_last_checkpoint(trainer)}; look at the recordings of "
            f"this batch, or lower optimizer.lr: {utterances}."
        )


def format_last_checkpoint(trainer: pl.Trainer) -> str:
    """Name the checkpoint that a failed training can continue from."""
    last = Path(trainer.default_root_dir) / LAST_CHECKPOINT
    return f"the last good checkpoint is {last}" if last.exists() else "no checkpoint was written before"


def format_batch_utterances(trainer: pl.Trainer, batch_idx: int) -> str:
    """Format the paths of the utterances of a training batch."""
    data = getattr(trainer, "datamodule", None)
    assert isinstance(data, SingerDataModule)
    return ", ".join(sorted(set(data.list_batch_utterances(batch_idx))))


def _get_gradient_norm(pl_module: pl.LightningModule) -> torch.Tensor:
    assert isinstance(pl_module, Verifier)
    return torch.zeros(()) if pl_module.gradient_norm is None else pl_module.gradient_norm
