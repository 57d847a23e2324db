"""What a training says on the console: a progress bar, a line per validation, a table at the end."""

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import rich
from pytorch_lightning.callbacks import RichProgressBar
from rich.table import Table

from singer_verify.evaluation.breakdown import ConditionFigures
from singer_verify.runs.history import Figures, MetricHistory

log = logging.getLogger(__name__)


class TrainingProgress(RichProgressBar):
    """Lightning's bar over all steps of the training, with the losses and the last EER."""

    def __init__(self) -> None:
        super().__init__(console_kwargs={"quiet": rich.get_console().quiet})  # for Lightning makes the console anew

    @property
    def total_train_batches(self) -> int | float:
        return self.trainer.num_training_batches  # those before a continuation too, which the bar counts as well

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training"

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics  # type: ignore[return-value]


class ValidationLines(pl.Callback):
    """Logs a line after each validation."""

    def __init__(self, history: MetricHistory) -> None:
        self.history = history

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures = self.history.figures[-1]
        mark = " (best so far)" if figures is self.history.best else ""
        log.info("step %d: %s%s", figures["step"], describe(figures), mark)


def describe(figures: Figures) -> str:
    """EER in percent and the other figures in one line."""
    others = [f"{name} {value:.3f}" for name, value in figures.items() if name not in ("step", "val/eer")]
    return ", ".join([f"val/eer {100 * figures['val/eer']:.2f} %", *others])


def closing_table(result: dict[str, Any], run: Path) -> Table:
    """The outcome of a run, from what `metrics.json` holds."""
    table = Table(show_header=False, title=f"Run {run.name}")
    untrained, best = result["untrained"], result["best"]
    no_better = ", no better than untrained" if untrained and best and best["val/eer"] >= untrained["val/eer"] else ""
    for label, key in (("before training", "untrained"), ("best", "best"), ("final", "final")):
        if figures := result[key]:
            note = no_better if key == "best" else ""
            table.add_row(f"EER {label}", f"{100 * figures['val/eer']:.2f} % at step {figures['step']:.0f}{note}")
    table.add_row(
        "judged on", f"{result['num_val_singers']} unseen singers; fewer than 30 leave it uncertain by points"
    )
    table.add_row("stopped", f"{result['stopped']} after {result['steps']} steps, {result['seconds']:.0f} s")
    table.add_row("run folder", str(run))
    table.add_row("TensorBoard", f"tensorboard --logdir {run}")
    return table


def evaluation_table(result: dict[str, Any], model: Path) -> Table:
    """What `singer-verify evaluate` prints."""
    low, high = (100 * bound for bound in result["eer_interval_95"])
    table = Table(show_header=False, title=f"{model} on {result['split']}")
    table.add_row("EER", f"{100 * result['eer']:.2f} %  (95 % over singers: {low:.1f} to {high:.1f} %)")
    table.add_row("threshold", f"{result['threshold']:.4f} (cosine)")
    table.add_row("minDCF", f"{result['min_dcf_0.01']:.3f} at prior 0.01, {result['min_dcf_0.05']:.3f} at 0.05")
    table.add_row("trials", f"{result['num_trials']}, of which {result['num_target_trials']} target")
    table.add_row("utterances", f"{result['num_utterances']} by {result['num_singers']} singers")
    return table


def conditions_table(figures: list[ConditionFigures]) -> Table:
    """A row per condition; one with too few trials has no rate."""
    table = Table(title="by condition")
    for name in ("condition", "EER", "trials", "of which target"):
        table.add_column(name, justify="left" if name == "condition" else "right")
    for each in figures:
        few = "too few trials" if each.num_targets else "no target trials"
        rate = few if each.eer is None else f"{100 * each.eer:.2f} %"
        table.add_row(each.condition, rate, str(each.num_trials), str(each.num_targets))
    return table
