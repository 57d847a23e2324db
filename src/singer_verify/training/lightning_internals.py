"""Everything of Lightning that is used although it is private or undocumented, written for pytorch-lightning 2.6.

pyproject.toml bounds pytorch-lightning accordingly; look here first when that bound moves. Besides, the progress bar
overrides `RichProgressBar._get_train_description`, and the data module reads the progress of the training loop.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.seed import _collect_rng_states, _set_rng_states
from pytorch_lightning.callbacks import WeightAveraging


def get_attached_trainer(module: pl.LightningModule) -> pl.Trainer | None:
    """Return the module's trainer; None where there is none, instead of an error."""
    return module._trainer


def count_completed_batches(trainer: pl.Trainer) -> int:
    """Return the number of training batches that are done."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.completed


def count_started_batches(trainer: pl.Trainer) -> int:
    """Return the number of training batches that were begun."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.ready


def reset_loop_counters(fit_loop: dict[str, Any], num_batches: int) -> None:
    """Set the counters of the training loop in a checkpoint to the middle of an epoch, between two batches.

    Args:
        fit_loop: state of the loop, changed in place.
        num_batches: number of batches that are done, validation included.
    """
    epoch, batches = fit_loop["epoch_progress"], fit_loop["epoch_loop.batch_progress"]
    validation = fit_loop["epoch_loop.val_loop.batch_progress"]
    for extent in ("total", "current"):
        epoch[extent] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
        batches[extent] = dict.fromkeys(batches[extent], num_batches)
        validation[extent] = dict.fromkeys(validation[extent], 0)
    batches["is_last_batch"] = validation["is_last_batch"] = False


def begin_with_a_new_step(trainer: pl.Trainer) -> None:
    """Have a training that continues repeat nothing of the step before."""
    trainer.fit_loop.epoch_loop.reset_restart_stage()


def mark_steps_as_logged(trainer: pl.Trainer, num_steps: int) -> None:
    """Set the number of steps that loggers count from, which Lightning does not restore."""
    trainer.fit_loop.epoch_loop._batches_that_stepped = num_steps


def move_averaged_weights(averaging: WeightAveraging, device: torch.device) -> None:
    """Move the mean of a running training to a device; it was made before Lightning moved the weights there."""
    assert averaging._average_model is not None
    averaging._average_model.to(device)


def copy_averaged_weights(averaging: WeightAveraging, module: pl.LightningModule) -> None:
    """Put the mean in place of the weights."""
    averaging._copy_average_to_current(module)


@contextmanager
def use_averaged_weights(trainer: pl.Trainer, module: pl.LightningModule) -> Iterator[None]:
    """Put the mean in place of the weights within the context, where a callback of the trainer averages them."""
    averaging = [
        callback
        for callback in trainer.callbacks  # type: ignore[attr-defined]
        if isinstance(callback, WeightAveraging) and callback._average_model is not None
    ]
    for callback in averaging:
        callback._swap_models(module)
    try:
        yield
    finally:
        for callback in averaging:
            callback._swap_models(module)


def capture_rng_states() -> dict[str, Any]:
    """Return the states of Python, NumPy, torch and the current CUDA device, in values that `weights_only=True` loads.

    Lightning's own function would open every CUDA device in every process.
    """
    states = _collect_rng_states(include_cuda=False)
    name, keys, *rest = states["numpy"]
    states["numpy"] = [str(name), torch.from_numpy(np.asarray(keys, np.int64)), *rest]
    return states | {"cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None}


def restore_rng_states(states: dict[str, Any]) -> None:
    """Continue all generators where `capture_rng_states` found them; a CUDA device that was absent is left alone."""
    name, keys, *rest = states["numpy"]
    _set_rng_states(states | {"numpy": (name, keys.numpy().astype(np.uint32), *rest)})
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
