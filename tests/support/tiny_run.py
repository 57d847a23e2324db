"""A training of a second, run in this process the way `train.py` runs it, for tests of what happens to it."""

import copy
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytorch_lightning as pl
import torch
import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict, read_write

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import train

NUM_BINS = 5
TINY = (
    "encoder.hidden_size=6",
    "encoder.num_layers=2",
    "encoder.dropout=0.2",
    "encoder.embedding_size=4",
    "data.num_frames=10",
    "data.singers_per_batch=4",
    "data.utterances_per_singer=2",
    "data.num_val_batches=2",
    "data.num_extraction_workers=0",
    "trainer.accelerator=cpu",
    "+trainer.enable_progress_bar=false",
    "~callbacks.progress_bar",
    "trainer.max_steps=13",
    "trainer.val_check_interval=4",
    "callbacks.last.every_n_steps=3",
)


def make_corpus(root: Path, num_train: int = 5, num_val: int = 3) -> Path:
    """Ready features of a few singers, each around a mean of its own."""
    generator = np.random.default_rng(0)
    for split, num_singers in (("train", num_train), ("val", num_val)):
        for singer in range(num_singers):
            folder = root / split / f"{split}{singer}"
            folder.mkdir(parents=True)
            mean = generator.normal(size=NUM_BINS)
            for utterance in range(3):
                frames = mean + generator.normal(size=(25 + singer, NUM_BINS))
                np.save(folder / f"{utterance}.npy", frames.astype(np.float32))
    params = {"num_feats": NUM_BINS, "sr": 16000, "hop_size": 160}
    (root / "feat_params.yaml").write_text(yaml.safe_dump(params))
    return root


def tiny(corpus: Path) -> list[str]:
    return [*TINY, f"data.root={corpus}", f"data.store_root={corpus}-store"]


def run(monkeypatch: Any, *overrides: str, folder: Path | None = None, callbacks: tuple[pl.Callback, ...] = ()) -> Path:
    """Run `train.py` with overrides in this process; returns the run's folder.

    Args:
        monkeypatch: pytest's.
        overrides: as they are typed.
        folder: of the run; where it is None, the one that the configuration chooses.
        callbacks: added to the trainer's.
    """
    build_trainer = train.build_trainer

    def with_callbacks(*arguments: Any) -> pl.Trainer:
        trainer = build_trainer(*arguments)
        trainer.callbacks[:0] = callbacks
        return trainer

    typed = [*overrides, *([f"hydra.run.dir={folder}"] if folder else [])]
    with monkeypatch.context() as patch, hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        patch.setattr(train, "build_trainer", with_callbacks)
        config = hydra.compose("train", typed, return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        chosen = Path(os.path.abspath(config.hydra.run.dir))
        chosen.mkdir(parents=True, exist_ok=True)
        with read_write(config.hydra.runtime), open_dict(config):
            config.hydra.runtime.output_dir = str(chosen)
            HydraConfig.instance().set_config(config)
            task = copy.deepcopy(config)
            del task["hydra"]
        try:
            train.train(task)
        finally:
            silence(logging.getLogger("singer_verify"))
    return chosen


def silence(log: logging.Logger) -> None:
    """Take away what a training has the log written to: the console that other tests read is one of it."""
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours that handles errors runs after it, and nothing more is written."""


class At(pl.Callback):
    """Does something when a hook is called for the `format_count`-th time.

    Args:
        hook: of Lightning's callbacks.
        count: from 1.
        action: what to do.
    """

    def __init__(self, hook: str, count: int, action: Callable[[], None]) -> None:
        self.left, self.action = count, action
        setattr(self, hook, self._count)

    def _count(self, *_: Any, **__: Any) -> None:
        self.left -= 1
        if self.left == 0:
            self.action()


def kill() -> None:
    raise Killed


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def last_of(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def differences(left: Any, right: Any, place: str = "") -> list[str]:
    """Where two nested values are not the same, bit for bit."""
    if isinstance(left, dict) and isinstance(right, dict):
        names = left.keys() | right.keys()
        return [each for name in names for each in differences(left.get(name), right.get(name), f"{place}/{name}")]
    if isinstance(left, list | tuple) and isinstance(right, list | tuple) and len(left) == len(right):
        pairs = enumerate(zip(left, right, strict=True))
        return [each for number, pair in pairs for each in differences(*pair, f"{place}/{number}")]
    both_tensors = isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor)
    return [] if (torch.equal(left, right) if both_tensors else left == right) else [place]
