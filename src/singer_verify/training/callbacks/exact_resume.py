"""Exact resumption: a stopped training continues as if it had never been stopped."""

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping

from singer_verify.errors import SingerVerifyError
from singer_verify.runs.checkpoints import read_checkpoint
from singer_verify.runs.settings import SETTINGS_KEY, find_allowed_changes, format_setting_differences
from singer_verify.training.lightning_internals import (
    begin_with_a_new_step,
    capture_rng_states,
    mark_steps_as_logged,
    reset_loop_counters,
    restore_rng_states,
)
from singer_verify.training.loggers import drop_events_from

log = logging.getLogger(__name__)

RNG_STATES_KEY = "singer_verify_random_states"


class ExactResume(pl.Callback):
    """Add random states to every checkpoint, and resume between two whole steps.

    Lightning restores weights, optimiser, schedules and callbacks. Its own counters tell in which hook a checkpoint was
    written, and from some of them it would leave out a validation or count a step twice; here they are set to the whole
    steps that were done, whichever hook it was. Random states are restored when the first batch begins, for loaders
    that are set up draw from them.
    """

    def __init__(self) -> None:
        self.pending_rng_states: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[RNG_STATES_KEY] = capture_rng_states()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        num_batches = checkpoint["global_step"] * trainer.accumulate_grad_batches
        reset_loop_counters(checkpoint["loops"]["fit_loop"], num_batches)
        self.pending_rng_states = checkpoint[RNG_STATES_KEY]
        early_stopping = trainer.early_stopping_callback
        if isinstance(early_stopping, EarlyStopping) and early_stopping.state_key in checkpoint["callbacks"]:
            checkpoint["callbacks"][early_stopping.state_key]["patience"] = early_stopping.patience  # may differ now

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.pending_rng_states is None:
            return
        drop_events_from(trainer, trainer.global_step)
        begin_with_a_new_step(trainer)
        early_stopping = trainer.early_stopping_callback
        if isinstance(early_stopping, EarlyStopping) and early_stopping.wait_count >= early_stopping.patience:
            trainer.should_stop = True

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.pending_rng_states is not None:
            mark_steps_as_logged(trainer, trainer.global_step)
            restore_rng_states(self.pending_rng_states)
            self.pending_rng_states = None


def read_previous_settings(checkpoint: Path, now: dict[str, Any]) -> dict[str, Any]:
    """Return the settings a checkpoint was written with; log the step it continues after, and what has changed.

    Raises:
        SingerVerifyError: the file is damaged, holds a model only, or a setting changed that must not change.
    """
    content = read_checkpoint(checkpoint)
    if SETTINGS_KEY not in content or "optimizer_states" not in content:
        raise SingerVerifyError(
            f"ckpt_path={checkpoint}: holds a model, but no state of its training; give the run's "
            f"checkpoints/last.ckpt, or begin a new run with its weights: init_from={checkpoint}."
        )
    if RNG_STATES_KEY not in content:
        raise SingerVerifyError(
            f"ckpt_path={checkpoint}: was written without callbacks.resume and has no random states to continue from; "
            f"start a new run, with init_from={checkpoint} to begin with its weights."
        )
    if not any(str(entry.get("_target_")).endswith(".ExactResume") for entry in now["callbacks"].values() if entry):
        raise SingerVerifyError(
            "callbacks.resume is missing: a stopped run continues exactly with it only; leave it in."
        )
    then: dict[str, Any] = content[SETTINGS_KEY]
    changed = format_setting_differences(find_allowed_changes(then, now | {"corpus": then["corpus"]})) or "nothing"
    log.info("%s: continuing after step %d; changed: %s.", checkpoint, content["global_step"], changed)
    return then
