"""Loggers of a run, and what each of them can show besides scalars.

Every logger takes scalars. TensorBoard, Weights & Biases and MLflow show pictures and settings as well; a logger that
cannot show something is left out.
"""

from typing import Any

import pytorch_lightning as pl
import yaml
from lightning_utilities.core.rank_zero import rank_zero_only
from matplotlib.figure import Figure
from pytorch_lightning.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger
from tensorboard.compat.proto.event_pb2 import Event, SessionLog


class RunTensorBoardLogger(TensorBoardLogger):
    """Lightning's TensorBoard logger without its `hparams.yaml`, which would repeat the run's `config.yaml`.

    Args:
        folder: the run's folder, which the events are written to.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(save_dir=folder, name="", version="", default_hp_metric=False)

    @rank_zero_only
    def save(self) -> None:
        self.experiment.flush()

    @rank_zero_only
    def drop_events_from(self, step: int) -> None:
        """Have TensorBoard drop what was logged at this step or later before the run was stopped."""
        restart = Event(step=step, session_log=SessionLog(status=SessionLog.START))
        self.experiment._get_file_writer().add_event(restart)


@rank_zero_only
def drop_events_from(trainer: pl.Trainer, step: int) -> None:
    """Drop what TensorBoard was told at this step or later, before the run was stopped."""
    for logger in trainer.loggers:
        if isinstance(logger, RunTensorBoardLogger):
            logger.drop_events_from(step)


@rank_zero_only
def log_figure(trainer: pl.Trainer, tag: str, figure: Figure) -> None:
    """Send a picture to every logger that can show one."""
    step = trainer.global_step
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_figure(tag, figure, step)
        elif isinstance(logger, WandbLogger):
            logger.log_image(tag, [figure], step=step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_figure(logger.run_id, figure, f"{tag}/step_{step}.png")


@rank_zero_only
def log_settings(trainer: pl.Trainer, settings: dict[str, Any]) -> None:
    """Send the run's settings to every logger that can show them, as text."""
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            indented = "\n".join(f"    {line}" for line in text.splitlines())
            logger.experiment.add_text("config", indented, trainer.global_step)
        elif isinstance(logger, WandbLogger):
            logger.log_hyperparams(settings)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_text(logger.run_id, text, "config.yaml")


@rank_zero_only
def log_hyperparameters(trainer: pl.Trainer, settings: dict[str, Any], metrics: dict[str, float]) -> None:
    """Show the settings beside the best metrics in TensorBoard's HParams tab; to other loggers send the metrics."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(settings, metrics)
            logger.save()
        else:
            logger.log_metrics(metrics, step=trainer.global_step)
            logger.save()
