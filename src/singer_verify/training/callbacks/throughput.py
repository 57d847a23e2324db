"""Training steps per second, for the loggers.

Lightning's ThroughputMonitor wants batch sizes and sequence lengths and logs a dozen numbers; one is enough here.
"""

import time
from typing import Any

import pytorch_lightning as pl


class StepsPerSecond(pl.Callback):
    """Log `steps_per_second` every `trainer.log_every_n_steps` steps, without the time that validation takes."""

    def __init__(self) -> None:
        self.first_step: int | None = None
        self.started = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        step = trainer.global_step
        if self.first_step is None:  # the first step after a start or a validation also loads data and warms up
            self.first_step, self.started = step, time.monotonic()
        elif step % trainer.log_every_n_steps == 0 and step > self.first_step:  # type: ignore[attr-defined]
            rate = (step - self.first_step) / max(time.monotonic() - self.started, 1e-9)
            for logger in trainer.loggers:
                logger.log_metrics({"steps_per_second": rate}, step=step)
            self.first_step, self.started = step, time.monotonic()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.first_step = None
