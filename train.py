"""Train a singer verification network: compose the settings, build the parts, run, report."""

import logging
import os
import time
import warnings
from pathlib import Path
from typing import Any

import singer_verify  # noqa: F401  first, because it settles how torch's threads wait

# isort: split
import hydra
import pytorch_lightning as pl
import rich
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.utils import instantiate
from lightning_fabric.utilities.warnings import PossibleUserWarning
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from singer_verify.card import make_card
from singer_verify.data.datamodule import SingerDataModule
from singer_verify.encoders.freezing import freeze
from singer_verify.entry import plain_mistakes, start_log
from singer_verify.errors import SingerVerifyError, require_at_least
from singer_verify.reports.console import ValidationLines, closing_table
from singer_verify.reports.pictures import TrainingPictures
from singer_verify.runs.checkpoints import BEST, LAST, WholeFileCheckpoints, export_saved_model
from singer_verify.runs.folder import METRICS_NAME, refuse_existing, write_json, write_run
from singer_verify.runs.history import MetricHistory
from singer_verify.runs.interruption import Interruption, TrainingInterrupted
from singer_verify.runs.lineage import Parent, folder_name, runs_folder
from singer_verify.verifier import ValidationSet, Verifier

log = logging.getLogger("singer_verify.train")
OmegaConf.register_new_resolver("runs_folder", runs_folder, replace=True)  # conf/train.yaml: where runs lie
OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def train(config: DictConfig) -> float | None:
    """Run one training; returns the best value of the monitored metric, for a sweep."""
    run = Path(HydraConfig.get().runtime.output_dir)
    refuse_existing(run)
    start_log(rich.get_console(), run / "train.log")
    pl.seed_everything(config.seed, workers=True, verbose=False)

    parent = read_parent(config)
    data = build_data(config, parent)
    verifier = build_verifier(config, data, parent)
    origin = parent.record(run, parent.give_weights(verifier)) if parent else None
    history = MetricHistory(config.monitor, config.monitor_mode)
    trainer = build_trainer(config, run, history)
    write_run(run, OmegaConf.to_yaml(config, resolve=True), list(HydraConfig.get().overrides.task), parent=origin)

    result = fit(trainer, verifier, data, history, config.ckpt_path)
    if not (run / BEST).exists() and (run / LAST).exists():
        (run / BEST).hardlink_to(run / LAST)  # interrupted before the first validation: the best there is
    if (run / BEST).exists():
        export_saved_model(run)
    write_json(run / METRICS_NAME, result)
    rich.print(closing_table(result, run))
    return history.best[config.monitor] if history.best else None


def read_parent(config: DictConfig) -> Parent | None:
    """The run whose weights this one begins with; a training that is continued has its own."""
    if config.init_optimizer and (config.init_from is None or config.freeze):
        raise SingerVerifyError(
            f"init_optimizer=true with init_from={config.init_from} and freeze={config.freeze}: expected a parent and "
            f"nothing frozen, so that its optimiser moved the same parameters."
        )
    return Parent.read(config.init_from) if config.init_from and not config.ckpt_path else None


def build_data(config: DictConfig, parent: Parent | None = None) -> SingerDataModule:
    """Read the corpus, compute its frames, and write what only the data decides into the configuration."""
    data: SingerDataModule = instantiate(config.data, feature=instantiate(config.features), seed=config.seed)
    config.features = data.feature.recipe
    config.encoder.num_bins = data.feature.num_bins
    if parent:
        parent.require_match(data.feature.recipe, instantiate(config.encoder).settings)
    data.prepare_data()
    data.setup()
    if "ce" in config.loss.terms:
        config.loss.terms.ce.num_singers = len(data.train_singers)
    return data


def build_verifier(config: DictConfig, data: SingerDataModule, parent: Parent | None = None) -> Verifier:
    encoder, loss, make_optimizer = (instantiate(part) for part in (config.encoder, config.loss, config.optimizer))
    if parent and config.init_optimizer:
        make_optimizer = parent.give_optimizer_state(make_optimizer)
    freeze(encoder, config.freeze or [])
    loss.require_utterances(config.data.utterances_per_singer)
    verifier = Verifier(
        encoder,
        loss,
        make_optimizer,
        instantiate(config.scheduler),
        config.monitor,
        config.trainer.val_check_interval,
        make_card(data.feature.recipe, encoder.settings, config.data.num_frames, data.train_singers),
    )
    store = data.stores["val"]
    verifier.validation_set = ValidationSet(store.singer_index, store.singers)
    verifier.configure_optimizers()  # a wrong setting is refused before the run begins
    return verifier


def build_trainer(config: DictConfig, run: Path, history: MetricHistory) -> pl.Trainer:
    require_at_least(1, **{f"trainer.{name}": config.trainer[name] for name in ("max_steps", "val_check_interval")})
    callbacks = [
        history,
        ValidationLines(history),
        TrainingPictures(OmegaConf.to_yaml(config, resolve=True)),
        Interruption(run / LAST),
        *instantiate(config.callbacks).values(),
    ]
    logger = instantiate(config.logger)
    return instantiate(config.trainer, callbacks=callbacks, logger=logger, plugins=[WholeFileCheckpoints()])


def fit(
    trainer: pl.Trainer, verifier: Verifier, data: SingerDataModule, history: MetricHistory, ckpt_path: str | None
) -> dict[str, Any]:
    """Train until validation no longer improves or the steps are used up; returns what `metrics.json` holds."""
    started, stopped = time.monotonic(), "no further improvement"
    try:
        if ckpt_path is None:
            trainer.validate(verifier, data, verbose=False)
        trainer.fit(verifier, data, ckpt_path=ckpt_path)
    except TrainingInterrupted:
        stopped = "interrupted"
    if trainer.global_step >= trainer.max_steps:
        stopped = "step limit"
    return {
        "monitor": history.monitor,
        "untrained": history.untrained,
        "best": history.best,
        "final": history.final,
        "steps": trainer.global_step,
        "seconds": round(time.monotonic() - started, 1),
        "stopped": stopped,
        "num_train_singers": len(data.train_singers),
        "num_val_singers": len(data.stores["val"].singers),
    }


if __name__ == "__main__":
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come through to be said below, in one sentence
    warnings.filterwarnings("ignore", category=PossibleUserWarning)  # advice on loader workers: a setting of ours
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")  # Lightning 2.6 with torch 2.13
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with plain_mistakes(HydraException, OmegaConfBaseException):
        train()
