"""A training of a second, run in this process the way `train.py` runs it, for tests of what happens to it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import yaml

from singer_verify.training.run import train

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"

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
    """Precomputed features of a few singers, each around a mean of its own."""
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


def tiny(corpus: Path, pictures: bool = False) -> list[str]:
    """Overrides of a tiny training on a corpus.

    Args:
        corpus: see `make_corpus`.
        pictures: whether they are drawn for TensorBoard, which takes longer than all the rest.
    """
    drawn = [] if pictures else ["~callbacks.pictures"]
    return [*TINY, *drawn, f"data.root={corpus}", f"data.store_root={corpus}-store"]


def run(monkeypatch: Any, *overrides: str, folder: Path | None = None, callbacks: tuple[pl.Callback, ...] = ()) -> Path:
    """Train with overrides in this process; returns the run's folder.

    Args:
        monkeypatch: pytest's.
        overrides: as they are typed.
        folder: of the run; where it is None, the one that the configuration chooses.
        callbacks: called before the configuration's.
    """
    typed = [*overrides, *([f"hydra.run.dir={folder}"] if folder else [])]
    return train(typed, conf=CONF, callbacks=callbacks).run


class Killed(BaseException):
    """Stands for SIGKILL: no error handling of singer_verify runs after it, and nothing more is written."""


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
        return [
            difference
            for name in names
            for difference in differences(left.get(name), right.get(name), f"{place}/{name}")
        ]
    if isinstance(left, list | tuple) and isinstance(right, list | tuple) and len(left) == len(right):
        pairs = enumerate(zip(left, right, strict=True))
        return [difference for number, pair in pairs for difference in differences(*pair, f"{place}/{number}")]
    both_tensors = isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor)
    return [] if (torch.equal(left, right) if both_tensors else left == right) else [place]
