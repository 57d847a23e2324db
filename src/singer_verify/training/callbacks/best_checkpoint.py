"""The checkpoint of the best model so far."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from singer_verify.runs.checkpoints import BEST_CHECKPOINT

MODEL_PATH_KEYS = ("best_model_path", "kth_best_model_path", "last_model_path")


class BestCheckpoint(ModelCheckpoint):
    """Write `best.ckpt`, weights and metadata alone; the best model stays known after its run folder was moved.

    Args:
        monitor: metric that decides.
        mode: "min" or "max", which of its values is best.
    """

    def __init__(self, monitor: str = "val/eer", mode: str = "min") -> None:
        name = BEST_CHECKPOINT.stem
        super().__init__(
            filename=name, monitor=monitor, mode=mode, save_weights_only=True, enable_version_counter=False
        )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.dirpath = str(Path(trainer.default_root_dir) / BEST_CHECKPOINT.parent)
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        here = Path(str(self.dirpath))
        paths = {name: str(here / Path(state_dict[name]).name) for name in MODEL_PATH_KEYS if state_dict[name]}
        models = {str(here / Path(path).name): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | paths | {"best_k_models": models, "dirpath": self.dirpath})
