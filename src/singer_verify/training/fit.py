"""A training from its first step, or the one it stands at, to its end; and what is left when it has ended."""

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from singer_verify.data.datamodule import SingerDataModule
from singer_verify.export.seed_format import export_saved_model
from singer_verify.runs.checkpoints import BEST_CHECKPOINT, LAST_CHECKPOINT
from singer_verify.runs.folder import METRICS_FILENAME, write_json
from singer_verify.training.callbacks.interruption import TrainingInterrupted
from singer_verify.training.callbacks.metric_history import find_history
from singer_verify.training.callbacks.non_finite import convert_to_user_error
from singer_verify.training.module import Verifier


def fit(
    trainer: pl.Trainer,
    verifier: Verifier,
    data: SingerDataModule,
    ckpt_path: str | None,
) -> dict[str, Any]:
    """Train until validation no longer improves or the steps are used up; returns what `metrics.json` holds.

    An encoder without parameters is validated once, and is the best there is; the loss does not learn alone.

    Raises:
        SingerVerifyError: a loss that is no number, a worker that died, a full disk.
    """
    run, history = Path(trainer.default_root_dir), find_history(trainer, METRICS_FILENAME)
    started, stopped = time.monotonic(), "no further improvement"
    learns = any(True for _ in verifier.encoder.parameters())
    try:
        if ckpt_path is None or not learns:
            trainer.validate(verifier, data, verbose=False)
        if learns:
            trainer.fit(verifier, data, ckpt_path=ckpt_path)
        else:
            stopped = "nothing to train"
            trainer.save_checkpoint(run / BEST_CHECKPOINT)
    except TrainingInterrupted:
        stopped = "interrupted"
    except Exception as error:
        if said := convert_to_user_error(error, trainer):
            raise said from error
        raise
    if trainer.global_step >= trainer.max_steps:
        stopped = "step limit"
    return {
        "monitor": history.monitor,
        "untrained": history.untrained,
        "best": history.best if learns else history.untrained,
        "final": history.final,
        "steps": trainer.global_step,
        "seconds": round(time.monotonic() - started, 1),
        "stopped": stopped,
        "num_train_singers": len(data.train_singers),
        "num_val_singers": len(data.stores["val"].singers),
    }


def write_training_results(run: Path, result: dict[str, Any]) -> None:
    """Leave the best model in both its forms, and the figures."""
    if not (run / BEST_CHECKPOINT).exists() and (run / LAST_CHECKPOINT).exists():
        (run / BEST_CHECKPOINT).hardlink_to(
            run / LAST_CHECKPOINT
        )  # interrupted before the first validation: the best there is
    if (run / BEST_CHECKPOINT).exists():
        export_saved_model(run)
    write_json(run / METRICS_FILENAME, result)
