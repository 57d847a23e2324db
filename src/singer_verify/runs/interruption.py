"""Ctrl-C and SIGTERM: the step at hand is finished, the model saved, the training ended."""

import logging
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterrupted(BaseException):
    """The training was asked to end before it was done; `last.ckpt` holds where it stood."""


class Interruption(pl.Callback):
    """Ends a training at the next whole step after a signal; a second signal ends it at once.

    Args:
        last: where the model is saved.
    """

    def __init__(self, last: Path) -> None:
        self.last = last
        self.requested = False
        self.earlier_handlers: dict[int, Any] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            self.earlier_handlers = {number: signal.signal(number, self._request) for number in SIGNALS}

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._end_if_requested(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._end_if_requested(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore_handlers()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore_handlers()

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            self._restore_handlers()
            raise KeyboardInterrupt
        self.requested = True
        log.warning("%s: ending after this step; once more to end at once.", signal.Signals(number).name)

    def _end_if_requested(self, trainer: pl.Trainer) -> None:
        if self.requested:
            trainer.save_checkpoint(self.last)
            raise TrainingInterrupted

    def _restore_handlers(self) -> None:
        for number, handler in self.earlier_handlers.items():
            signal.signal(number, handler)
        self.earlier_handlers = {}
