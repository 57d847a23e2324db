"""A training in this process, as `train.py` composes it from conf/, in the folder that the settings give it."""

import importlib.util
import logging
from pathlib import Path
from types import ModuleType

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict, read_write

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


def compose_training(corpus: Path, *overrides: str) -> tuple[DictConfig, Path]:
    """The configuration of a small training on a corpus, and the folder of its run."""
    train_module()
    settings = [*SMALL, f"data.root={corpus}", f"data.store_root={corpus.parent / 'store'}", *overrides]
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        config = compose("train", settings, return_hydra_config=True)
    HydraConfig.instance().set_config(config)  # which the folder's name asks
    run = Path(config.hydra.run.dir)
    with open_dict(config), read_write(config.hydra):
        config.hydra.runtime.output_dir = str(run)
        HydraConfig.instance().set_config(config)
        del config["hydra"]
    return config, run


def train(corpus: Path, *overrides: str) -> Path:
    """Train, and return the run folder."""
    config, run = compose_training(corpus, *overrides)
    try:
        train_module().train.__wrapped__(config)
    finally:
        for handler in list(logging.getLogger("singer_verify").handlers):
            logging.getLogger("singer_verify").removeHandler(handler)
            handler.close()
    return run
