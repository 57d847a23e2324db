"""The console output of a training: what is trained, a progress bar, a line per validation, a table at the end."""

import logging
import os
import shlex
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import rich
import torch
from pytorch_lightning.callbacks import RichProgressBar
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from singer_verify.data.datamodule import SingerDataModule
from singer_verify.evaluation.metrics.registry import METRICS
from singer_verify.progress_bars import can_draw
from singer_verify.runs.folder import BEST_CHECKPOINT
from singer_verify.runs.tree import format_features_name
from singer_verify.safe_loading import format_trust_options, list_packages_to_type
from singer_verify.training.callbacks.metric_history import ValidationMetrics, find_history
from singer_verify.training.module import Verifier

log = logging.getLogger(__name__)

REDRAWING_S = 0.2  # from one drawing of the bar to the next
LINE_INTERVAL_S = 30.0  # from one line to the next, where no bar is drawn
EER_KEY, LOSS_KEY = "val/eer", "train/loss"
# Figures of the loggers that a line leaves out.
LOGGED_ONLY = {f"val/{name}" for name in METRICS} - {EER_KEY, "val/min_dcf_0.05"} | {"val/threshold"}


def describe_training(trainer: pl.Trainer, verifier: Verifier, data: SingerDataModule) -> list[str]:
    """Describe what is about to be trained: network, device, features, length of a crop."""
    encoder, optimizer = verifier.encoder, getattr(verifier.make_optimizer, "func", verifier.make_optimizer)
    num_parameters = sum(parameter.numel() for parameter in encoder.parameters())
    num_trained = sum(parameter.numel() for parameter in encoder.parameters() if parameter.requires_grad)
    frozen = "" if num_trained == num_parameters else f", {format_count(num_trained)} of them trained"
    shortest = "" if data.min_frames is None else f"{_format_frames(data.min_frames, data)} to "
    names = "+".join(verifier.loss.terms), optimizer.__name__, format_device(trainer)
    bins = f"{data.feature.num_bins} bins every {data.feature.hop_ms:g} ms"
    batch = f"{data.train_sampler.singers_per_batch} singers × {data.utterances_per_singer} in a batch"
    return [
        f"encoder: {type(encoder).__name__}, {format_count(num_parameters)} parameters{frozen}; "
        "loss: {}; {}; device: {}".format(*names),
        f"features: {format_features_name(data.recipe)}, {bins}; "
        f"crops of {shortest}{_format_frames(data.num_frames, data)}, {batch}; at most {trainer.max_steps} steps",
    ]


def format_count(count: int) -> str:
    """Format a number of parameters: 812, 44 k, 1.44 M."""
    return str(count) if count < 1000 else f"{count / 1e3:.0f} k" if count < 1e6 else f"{count / 1e6:.2f} M"


def _format_frames(num_frames: int, data: SingerDataModule) -> str:
    return f"{num_frames * data.feature.hop_ms / 1000:g} s ({num_frames} frames)"


def format_device(trainer: pl.Trainer) -> str:
    """Format the device that trains: cpu with its threads, or the GPU's name; and how many of them."""
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    threads = torch.get_num_threads()
    name += f" ({threads} thread{'s' if threads > 1 else ''})" if device.type == "cpu" else ""
    return name if trainer.world_size == 1 else f"{trainer.world_size} × {name}"


class StepsColumn(ProgressColumn):
    """The steps done, of how many, and how many a second."""

    def render(self, task: Task) -> Text:
        speed = f" {task.speed:.1f}/s" if task.speed else ""
        total = "" if task.total is None or task.total == float("inf") else f"/{task.total:.0f}"
        return Text(f"{task.completed:.0f}{total}{speed}")


class TrainingProgress(RichProgressBar):
    """One line of at most 80 columns: a bar over all steps of the training, with the loss and the last EER.

    It is drawn anew a few times a second: reading the losses makes the processor wait for a GPU. Where the output is no
    terminal, a line is logged now and then instead.
    """

    def __init__(self) -> None:
        super().__init__(console_kwargs={"quiet": rich.get_console().quiet})  # Lightning creates a new console
        self.shown_at = time.monotonic()
        self.is_drawn = can_draw(rich.get_console())
        self.first_step: int | None = None
        self.started_at = 0.0
        self.figures = TextColumn("", table_column=Column(no_wrap=True))

    @property
    def is_enabled(self) -> bool:
        return super().is_enabled and self.is_drawn

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if not self.is_drawn:
            self._log_line(trainer, pl_module, now)
        elif now - self.shown_at >= REDRAWING_S or batch_idx + 1 >= self.total_train_batches:
            self.shown_at = now
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _log_line(self, trainer: pl.Trainer, pl_module: pl.LightningModule, now: float) -> None:
        if self.first_step is None:
            self.first_step, self.started_at = trainer.global_step, now
        if now - self.shown_at < LINE_INTERVAL_S or not trainer.is_global_zero:
            return
        self.shown_at = now
        line = (
            f"step {trainer.global_step} of {trainer.max_steps}: {', '.join(self._format_figures(trainer, pl_module))}"
        )
        if num_steps := trainer.global_step - self.first_step:
            step_s = (now - self.started_at) / num_steps
            line += f"; at most {timedelta(seconds=round((trainer.max_steps - trainer.global_step) * step_s))} left"
        log.info("%s", line)

    @property
    def total_train_batches(self) -> int | float:
        return self.trainer.num_training_batches  # those before a continuation too, which the bar counts as well

    def configure_columns(self, trainer: pl.Trainer) -> list[Any]:
        what, bar = TextColumn("{task.description}"), BarColumn(bar_width=None)
        return [what, bar, StepsColumn(), TimeRemainingColumn(elapsed_when_finished=True), self.figures]

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training"

    def _update_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.is_enabled:  # as text of its own column: Lightning's wraps into a line for each of them
            self.figures.text_format = " ".join(self._format_figures(trainer, pl_module))

    def _format_figures(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> list[str]:
        """Format the loss of the last step and the EER of the last validation, as far as there are any."""
        loss = getattr(pl_module, "training_outputs", {}).get(LOSS_KEY)
        eer = trainer.callback_metrics.get(EER_KEY)
        figures = [] if loss is None else [f"loss {float(loss):.3f}"]
        return figures + ([] if eer is None else [format_eer(float(eer))])


class ValidationLogger(pl.Callback):
    """Log a line after each validation."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.history = find_history(trainer, "callbacks.validation_lines")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures = self.history.figures[-1]
        mark = ""
        if figures is self.history.best:
            mark = " (best so far)" if self.history.has_improved else " (best so far, no better than untrained)"
        loss = getattr(pl_module, "training_outputs", {}).get(LOSS_KEY)  # none before the first step
        losses = {} if loss is None else {"loss": float(loss)}
        log.info("step %d: %s%s", figures["step"], format_metrics(figures | losses, self.history.monitor), mark)


def format_metrics(figures: ValidationMetrics, monitor: str = EER_KEY) -> str:
    """Format the EER in percent, losses, minDCF (prior 0.05) and the monitored metric; the loggers have all others."""
    first = [f"loss {figures['loss']:.3f}"] if "loss" in figures else []
    shown = figures.keys() - {"step", "loss", EER_KEY} - (LOGGED_ONLY - {monitor})
    others = [f"{name} {value:.3f}" for name, value in figures.items() if name in shown]
    return ", ".join([format_eer(figures[EER_KEY]), *first, *others])


def format_eer(eer: float) -> str:
    """Format an equal error rate, the same wherever a training tells one: EER 16.67 %."""
    return f"EER {100 * eer:.2f} %"


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
    table.add_row("run folder", _shorten_path(run))
    return table


def list_next_commands(result: dict[str, Any], run: Path, is_job: bool = False) -> list[str]:
    """List what can be done with a run that has ended, as commands to copy.

    Args:
        result: content of its `metrics.json`.
        run: folder of the run.
        is_job: whether it is a job of a sweep, whose jobs train for equally many steps.
    """
    path = _shorten_path(run)
    quoted, more_steps, trust = shlex.quote(path), 2 * result["steps"], format_trust_options()
    fine_tune = f"python train.py experiment=finetune {shlex.quote(f'init_from={path}')} data.root=CORPUS"
    commands = []
    if (run / BEST_CHECKPOINT).is_file():
        commands += [
            ("compare two recordings", f"singer-verify verify {quoted} A.wav B.wav{trust}"),
            ("evaluate on other singers", f"singer-verify evaluate {quoted} CORPUS --out report{trust}"),
            ("fine-tune", f"{fine_tune}{_format_trust_override()}"),
        ]
    if result["stopped"] == "step limit" and not is_job:
        commands.append(("train on", f"{format_resume_command(run)} trainer.max_steps={more_steps}"))
    if result["stopped"] == "interrupted":
        commands.insert(0, ("continue", format_resume_command(run)))
    if any(run.glob("events.out.tfevents.*")):
        commands.append(("see its curves", f"tensorboard --logdir {quoted}"))
    width = max((len(purpose) for purpose, _ in commands), default=0)
    return [f"{purpose:{width}}  {command}" for purpose, command in commands]


def format_resume_command(run: Path) -> str:
    """Format the command that continues a run."""
    return f"python train.py {shlex.quote(f'resume={_shorten_path(run)}')}{_format_trust_override()}"


def _format_trust_override() -> str:
    packages = ",".join(list_packages_to_type())
    return f" {shlex.quote(f'trust=[{packages}]')}" if packages else ""


def _shorten_path(run: Path) -> str:
    relative = os.path.relpath(run)
    return relative if not relative.startswith(os.pardir) else str(run)
