"""Ctrl-C and the signals of schedulers: the step at hand is finished, the model saved, the training ended."""

import logging
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from singer_verify.runs.folder import LAST_CHECKPOINT
from singer_verify.training.callbacks.checkpoints import is_between_steps
from singer_verify.worker_processes import TERMINATION_SIGNALS

log = logging.getLogger(__name__)


class TrainingInterrupted(BaseException):
    """The training was asked to end before it was done; `last.ckpt` holds where it stood."""


class GracefulShutdown(pl.Callback):
    """End a training at the next whole step after SIGINT, SIGTERM, SIGUSR1 or SIGUSR2; a second signal ends it at once.

    A validation in progress is abandoned: it is repeated when the training continues from the checkpoint written before
    it. Where several devices train together, a signal to one of them ends all at the same step.
    """

    def __init__(self) -> None:
        self.stop_requested = False
        self.number: int | None = None  # of the signal
        self.previous_handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._install_handlers()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._install_handlers()

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if is_between_steps(trainer) and trainer.strategy.reduce_boolean_decision(self.stop_requested, all=False):
            trainer.save_checkpoint(Path(trainer.default_root_dir) / LAST_CHECKPOINT)
            raise TrainingInterrupted

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.stop_requested and trainer.world_size == 1:  # several would have to agree after each batch
            raise TrainingInterrupted

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore_handlers()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore_handlers()

    def _install_handlers(self) -> None:
        """Install the signal handlers in the first hook, because Lightning sets its own just before it."""
        if threading.current_thread() is threading.main_thread():
            for number in TERMINATION_SIGNALS:
                if (handler := signal.signal(number, self._handle_signal)) != self._handle_signal:
                    self.previous_handlers[number] = handler

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        if self.stop_requested:
            self._restore_handlers()
            raise KeyboardInterrupt
        self.stop_requested, self.number = True, number
        log.warning("%s: ending after this step; once more to end at once.", signal.Signals(number).name)

    def _restore_handlers(self) -> None:
        """Put back the handlers that ours replaced, unless Lightning has already put back those before its own.

        It has at the end of a fit; Lightning's handlers would then stay, and keep the whole trainer in memory.
        """
        for number, handler in self.previous_handlers.items():
            if signal.getsignal(number) == self._handle_signal:
                signal.signal(number, handler)
        self.previous_handlers = {}


def find_end_signal(trainer: pl.Trainer) -> int | None:
    """Return the signal that asked a training to end; None if none did, or only one to another of several devices."""
    return next((each.number for each in trainer.callbacks if isinstance(each, GracefulShutdown)), None)  # type: ignore[attr-defined]
