"""The metrics of every validation of a run."""

import time
from typing import Any

import pytorch_lightning as pl

from singer_verify.errors import SingerVerifyError
from singer_verify.training.module import Verifier

ValidationMetrics = dict[str, float]


class MetricHistory(pl.Callback):
    """Record the metrics of each validation with its step, which was best, and how long the training has taken.

    Args:
        monitor: metric that decides which validation is best.
        mode: "min" or "max", which of its values is best.

    Attributes:
        figures: metrics of each validation, in order.
        num_singers: number of validation singers.
    """

    def __init__(self, monitor: str = "val/eer", mode: str = "min") -> None:
        self.monitor, self.mode = monitor, mode
        self.figures: list[ValidationMetrics] = []
        self.num_singers = 0
        self.earlier_seconds, self.start_s = 0.0, time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        logged = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        if self.monitor not in logged:
            raise SingerVerifyError(
                f"monitor={self.monitor}: is not measured; expected one of {', '.join(sorted(logged))}."
            )
        self.figures.append({"step": trainer.global_step, **logged})
        if isinstance(pl_module, Verifier) and pl_module.validation_set is not None:
            self.num_singers = len(pl_module.validation_set.singers)

    @property
    def untrained(self) -> ValidationMetrics | None:
        return next((figures for figures in self.figures if figures["step"] == 0), None)

    @property
    def best(self) -> ValidationMetrics | None:
        """The figures of `best.ckpt`: the earliest of the best after some training."""
        trained = [figures for figures in self.figures if figures["step"] > 0]
        choose = min if self.mode == "min" else max
        return choose(trained, key=lambda figures: figures[self.monitor]) if trained else None

    @property
    def has_improved(self) -> bool:
        """Whether `best` is better than `untrained`, as far as both are known."""
        if self.untrained is None or self.best is None:
            return True
        before, after = self.untrained[self.monitor], self.best[self.monitor]
        return after < before if self.mode == "min" else after > before

    @property
    def final(self) -> ValidationMetrics | None:
        return self.figures[-1] if self.figures and self.figures[-1]["step"] > 0 else None

    def start_session(self) -> None:
        """Begin to count the time of this session."""
        self.start_s = time.monotonic()

    @property
    def seconds(self) -> float:
        """The duration of this session and of all before it, up to the checkpoint that each was continued from."""
        return self.earlier_seconds + time.monotonic() - self.start_s

    def state_dict(self) -> dict[str, Any]:
        return {"figures": self.figures, "num_singers": self.num_singers, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.figures = list(state_dict["figures"])
        self.num_singers = state_dict["num_singers"]
        self.earlier_seconds = state_dict.get("seconds", 0.0)  # earlier versions did not count


def find_history(trainer: pl.Trainer, needed_by: str) -> MetricHistory:
    """Return the trainer's metric history.

    Args:
        trainer: trainer whose callbacks are searched.
        needed_by: name of the caller, for the error message.

    Raises:
        SingerVerifyError: the trainer has none.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, MetricHistory):
            return callback
    raise SingerVerifyError(
        f"callbacks.history is missing: {needed_by} needs the metrics of each validation; leave callbacks.history in."
    )
