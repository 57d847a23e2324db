"""A guard against losses and gradients that are NaN or infinite."""

import logging
import math
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch

from singer_verify.data.datamodule import SingerDataModule
from singer_verify.errors import SingerVerifyError, require_choice
from singer_verify.runs.folder import LAST_CHECKPOINT
from singer_verify.training.module import Verifier

log = logging.getLogger(__name__)

ON_NAN_CHOICES = ("stop", "warn")
MAX_UNREAD_STEPS = 8  # by which launching the steps of a GPU may run ahead of it


class NonFiniteGuard(pl.Callback):
    """Check each step's loss and gradient, so that nothing computed from a non-finite one is ever saved.

    On a GPU the values of a step are read once the GPU has computed them, at most `MAX_UNREAD_STEPS` steps later and
    before any validation or checkpoint, so that launching the next step does not wait for them.

    Args:
        on_nan: "stop" ends the training at a NaN or infinite value, "warn" logs a warning and continues.
    """

    def __init__(self, on_nan: str = "stop") -> None:
        require_choice(ON_NAN_CHOICES, **{"callbacks.non_finite.on_nan": on_nan})
        self.on_nan = on_nan
        self.unread: deque[_StepValues] = deque()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop or warn where the loss or gradient of a step, which may be an earlier one, is not finite.

        Raises:
            SingerVerifyError: naming the step, the batch's utterances and the last good checkpoint.
        """
        values = {"loss": outputs["loss"]}
        if getattr(trainer.precision_plugin, "scaler", None) is None:  # which leaves out steps of infinite gradients
            values["norm of the gradient"] = _get_gradient_norm(pl_module)
        self.unread.append(_StepValues.copy(trainer.global_step, batch_idx, values))
        while self.unread and (self.unread[0].is_there() or len(self.unread) > MAX_UNREAD_STEPS):
            self._check(trainer, self.unread.popleft())

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check_all(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._check_all(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check_all(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.unread.clear()

    def _check_all(self, trainer: pl.Trainer) -> None:
        while self.unread:
            self._check(trainer, self.unread.popleft())

    def _check(self, trainer: pl.Trainer, step: "_StepValues") -> None:
        values = step.read()
        if all(map(math.isfinite, values.values())):
            return
        description = ", ".join(f"{name} {value:g}" for name, value in values.items())
        utterances = format_batch_utterances(trainer, step.batch_idx)
        if self.on_nan == "warn":
            log.warning("step %d: %s, with the batch of %s.", step.step, description, utterances)
            return
        raise SingerVerifyError(
            f"step {step.step}: {description}; {format_last_checkpoint(trainer)}; look at the recordings of this "
            f"batch, or lower optimizer.lr: {utterances}."
        )


class _StepValues(NamedTuple):
    """Values of a step on their way from its device."""

    step: int
    batch_idx: int
    names: tuple[str, ...]
    values: torch.Tensor
    copied: torch.cuda.Event | None

    @classmethod
    def copy(cls, step: int, batch_idx: int, values: dict[str, torch.Tensor]) -> "_StepValues":
        """Begin to copy the values, of one device or of the processor, without waiting for them."""
        device = next((value.device for value in values.values() if value.is_cuda), torch.device("cpu"))
        together = torch.stack([value.detach().float().to(device) for value in values.values()])
        if not together.is_cuda:
            return cls(step, batch_idx, tuple(values), together, None)
        target = torch.empty(together.shape, pin_memory=True)
        target.copy_(together, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
        return cls(step, batch_idx, tuple(values), target, copied)

    def is_there(self) -> bool:
        return self.copied is None or self.copied.query()

    def read(self) -> dict[str, float]:
        """Return the values, waiting for them where they are not there yet."""
        if self.copied is not None:
            self.copied.synchronize()
        return dict(zip(self.names, self.values.tolist(), strict=True))


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
