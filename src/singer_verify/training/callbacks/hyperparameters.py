"""The settings of a run beside its best metrics, for TensorBoard's HParams tab."""

import pytorch_lightning as pl

from singer_verify.training.callbacks.metric_history import find_history
from singer_verify.training.loggers import log_hyperparameters
from singer_verify.training.module import Verifier


class HyperparameterLogger(pl.Callback):
    """Log the settings and the best validation's metrics (`best/eer`, ...) when a training ends."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Verifier)
        if best := find_history(trainer, "callbacks.hyperparameters").best:
            metrics = {name.replace("val/", "best/"): value for name, value in best.items() if name != "step"}
            log_hyperparameters(trainer, pl_module.settings, metrics)
