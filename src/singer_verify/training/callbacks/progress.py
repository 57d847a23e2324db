"""The console output of a training: a progress bar, a line per validation, a table at the end."""

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import rich
from pytorch_lightning.callbacks import RichProgressBar
from rich.table import Table

from singer_verify.training.callbacks.metric_history import ValidationMetrics, find_history

log = logging.getLogger(__name__)

REDRAWING_S = 0.2  # from one drawing of the bar to the next


class TrainingProgress(RichProgressBar):
    """Lightning's bar over all steps of the training, with the losses and the last EER.

    It is drawn anew a few times a second: reading the losses makes the processor wait for a GPU.
    """

    def __init__(self) -> None:
        super().__init__(console_kwargs={"quiet": rich.get_console().quiet})  # Lightning creates a new console
        self.drawn_at = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if now - self.drawn_at >= REDRAWING_S or batch_idx + 1 >= self.total_train_batches:
            self.drawn_at = now
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    @property
    def total_train_batches(self) -> int | float:
        return self.trainer.num_training_batches  # those before a continuation too, which the bar counts as well

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training"

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        outputs = getattr(pl_module, "training_outputs", {})
        return {name: float(value) for name, value in outputs.items()} | metrics


class ValidationLogger(pl.Callback):
    """Log a line after each validation."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.history = find_history(trainer, "callbacks.validation_lines")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures = self.history.figures[-1]
        mark = " (best so far)" if figures is self.history.best else ""
        log.info("step %d: %s%s", figures["step"], format_metrics(figures), mark)


def format_metrics(figures: ValidationMetrics) -> str:
    """Format the EER in percent and the other figures in one line."""
    others = [f"{name} {value:.3f}" for name, value in figures.items() if name not in ("step", "val/eer")]
    return ", ".join([f"val/eer {100 * figures['val/eer']:.2f} %", *others])


def build_run_summary_table(result: dict[str, Any], run: Path) -> Table:
    """Build the summary table of a run from the content of its `metrics.json`."""
    table = Table(show_header=False, title=f"Run {run.name}")
    table.add_column()
    table.add_column(overflow="fold")  # a path is copied whole
    untrained, best = result["untrained"], result["best"]
    no_better = ", no better than untrained" if untrained and best and best["val/eer"] >= untrained["val/eer"] else ""
    for label, key in (("before training", "untrained"), ("best", "best"), ("final", "final")):
        if figures := result[key]:
            note = no_better if key == "best" else ""
            table.add_row(f"EER {label}", f"{100 * figures['val/eer']:.2f} % at step {figures['step']:.0f}{note}")
    table.add_row(
        "evaluated on",
        f"{result['num_val_singers']} unseen singers (with fewer than 30, expect the EER to vary by several percentage "
        f"points)",
    )
    table.add_row("stopped", f"{result['stopped']} after {result['steps']} steps, {result['seconds']:.0f} s")
    table.add_row("run folder", str(run))
    table.add_row("TensorBoard", f"tensorboard --logdir {run}")
    return table
