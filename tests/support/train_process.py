"""A small training in this process, composed from the shipped conf/."""

import importlib.util
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

from omegaconf import DictConfig

from singer_verify.data.datamodule import SingerDataModule
from singer_verify.training import run as training
from singer_verify.training.composition import compose_settings
from singer_verify.training.module import Verifier
from singer_verify.training.parts import build_data, build_verifier

PROJECT = Path(__file__).parents[2]
SMALL = (
    *("encoder.hidden_size=12", "encoder.num_layers=2", "encoder.embedding_size=8"),
    *("data.num_frames=30", "data.singers_per_batch=2", "data.utterances_per_singer=2", "data.num_val_batches=2"),
    *("data.num_extraction_workers=0", "trainer.max_steps=4", "trainer.val_check_interval=2"),
    *("trainer.log_every_n_steps=1", "trainer.accelerator=cpu"),
)


def train_module() -> ModuleType:
    """`train.py`, imported."""
    specification = importlib.util.spec_from_file_location("train", PROJECT / "train.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def small_settings(corpus: Path, *overrides: str, pictures: bool = False) -> list[str]:
    """Overrides of a small training on a corpus.

    Args:
        corpus: its folder.
        overrides: further ones.
        pictures: whether they are drawn for TensorBoard, which takes longer than all the rest.
    """
    drawn = [] if pictures else ["~callbacks.pictures"]
    return [*SMALL, *drawn, f"data.root={corpus}", f"data.store_root={corpus.parent / 'store'}", *overrides]


def compose_training(corpus: Path, *overrides: str) -> AbstractContextManager[tuple[DictConfig, Path]]:
    """The configuration of a small training on a corpus, and the folder of its run."""
    return compose_settings(small_settings(corpus, *overrides), PROJECT / "conf")


def train(corpus: Path, *overrides: str, pictures: bool = False) -> Path:
    """Train, and return the run folder; see `small_settings`."""
    return training.train(small_settings(corpus, *overrides, pictures=pictures), conf=PROJECT / "conf").run


def prepare(corpus: Path, *overrides: str) -> SingerDataModule:
    """The data of a small training."""
    with compose_training(corpus, *overrides) as (config, _):
        data = build_data(config)
        data.prepare_data()
        data.setup()
        return data


def build(corpus: Path, *overrides: str) -> Verifier:
    """The module of a small training, before its first step."""
    data = prepare(corpus, *overrides)
    with compose_training(corpus, *overrides) as (config, _):
        return build_verifier(config, data, {})
