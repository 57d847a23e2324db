"""Train a singer verification network: compose the settings, build the parts, run, report."""

import logging
import os
import warnings
from pathlib import Path
from typing import Any, cast

import singer_verify  # noqa: F401  first, because it settles how torch's threads wait

# isort: split
import hydra
import pytorch_lightning as pl
import rich
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.utils import instantiate
from lightning_fabric.utilities.warnings import PossibleUserWarning
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from singer_verify.card import make_card
from singer_verify.data.datamodule import SingerDataModule
from singer_verify.encoders.freezing import freeze
from singer_verify.entry import plain_mistakes, start_log
from singer_verify.errors import SingerVerifyError, require_at_least
from singer_verify.features.normalisation import Normalisation
from singer_verify.features.prepared import prepared
from singer_verify.features.recipe import compared, feature_settings
from singer_verify.rebuild import refuse_foreign_targets
from singer_verify.reports.console import ValidationLines, closing_table
from singer_verify.reports.pictures import TrainingPictures
from singer_verify.runs.checkpoints import LAST, WholeFileCheckpoints
from singer_verify.runs.continuation import Continuation, settings_before
from singer_verify.runs.failures import NotFinite
from singer_verify.runs.fitting import fit, write_outcome
from singer_verify.runs.folder import claim_folder, continued_folder, run_of, write_run
from singer_verify.runs.history import MetricHistory
from singer_verify.runs.interruption import Interruption
from singer_verify.runs.kept import kept_statistics
from singer_verify.runs.last import LastCheckpoint
from singer_verify.runs.lineage import Parent, folder_name, runs_folder
from singer_verify.runs.settings import changes, merged, typed_for
from singer_verify.verifier import ValidationSet, Verifier

log = logging.getLogger("singer_verify.train")
# Of the processes that train one model, the one that writes.
IS_FIRST_RANK = rank_zero_only.rank == 0  # type: ignore[attr-defined]
# conf/train.yaml: where runs lie.
OmegaConf.register_new_resolver("runs_folder", runs_folder, replace=True)
OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
OmegaConf.register_new_resolver(
    "continued_folder", lambda *given: continued_folder(is_typed("name"), *given), replace=True
)


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def train(config: DictConfig) -> float | None:
    """Run one training; returns the best value of the monitored metric, for a sweep."""
    run = Path(HydraConfig.get().runtime.output_dir)
    start(run, config)
    config, typed = with_typed_before(config)
    settings = plain(config)
    then = settings_before(Path(config.ckpt_path), settings) if config.ckpt_path else None

    parent = read_parent(config)
    data = build_data(config, parent)
    settings["corpus"] = data.contents()
    if then is not None:
        changes(then, settings)
    torch.set_flush_denormal(True)  # gradients that fade over 200 frames would make a CPU ten times slower
    pl.seed_everything(config.seed, workers=True, verbose=False)  # now, for computing frames draws random numbers
    verifier = build_verifier(config, data, parent)
    origin = parent.record(run, parent.give_weights(verifier)) if parent else None
    history = MetricHistory(config.monitor, config.monitor_mode)
    trainer = build_trainer(config, run, history, settings)
    if IS_FIRST_RANK:
        write_run(run, OmegaConf.to_yaml(config, resolve=True), typed, parent=origin)

    result = fit(trainer, verifier, data, history, config.ckpt_path, run)
    if IS_FIRST_RANK:
        write_outcome(run, result)
        rich.print(closing_table(result, run))
    return result["best"][config.monitor] if result["best"] else None


def start(run: Path, config: DictConfig) -> None:
    """Refuse the folder of another run than the one that continues, if one does, and begin the log."""
    if not IS_FIRST_RANK:
        start_log(rich.get_console(), level=logging.WARNING)
        return
    checkpoint = Path(config.ckpt_path) if config.ckpt_path else None
    claim_folder(run, Path(config.resume) if config.resume else checkpoint and run_of(checkpoint))
    start_log(rich.get_console(), run / "train.log")


def with_typed_before(config: DictConfig) -> tuple[DictConfig, list[str]]:
    """With `resume`, the settings as they were typed for that run, and as typed now where these differ."""
    typed = merged([], list(HydraConfig.get().overrides.task))
    if config.resume is None:
        return config, typed
    run = Path(config.resume)
    typed = merged(typed_for(run), typed)
    config = hydra.compose("train", typed)
    refuse_foreign_targets(plain(config))
    if (run / LAST).exists():
        config.ckpt_path = str(run / LAST)
    else:
        log.info("%s: was stopped before its first checkpoint; starting again.", run)
    return config, typed


def is_typed(name: str) -> bool:
    return any(override.startswith(f"{name}=") for override in HydraConfig.get().overrides.task)


def plain(config: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


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
    recipe = plain(config.features) | kept_statistics(config.ckpt_path, config.init_from)
    feature = prepared(instantiate(feature_settings(recipe)), recipe)
    normalisation, augmentation = Normalisation.from_recipe(recipe), instantiate(config.augmentation)
    parts = {"feature": feature, "normalisation": normalisation, "augmentation": augmentation}
    data: SingerDataModule = instantiate(config.data, **parts, seed=config.seed)
    config.features = compared(data.recipe)
    config.encoder.num_bins = data.feature.num_bins
    if parent:
        parent.require_match(data.recipe, instantiate(config.encoder).settings)
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
        make_card(data.recipe, encoder.settings, data.window_frames, data.train_singers),
    )
    store = data.stores["val"]
    verifier.validation_set = ValidationSet(store.singer_index, store.singers)
    verifier.configure_optimizers()  # a wrong setting is refused before the run begins
    return verifier


def build_trainer(config: DictConfig, run: Path, history: MetricHistory, settings: dict[str, Any]) -> pl.Trainer:
    require_at_least(1, **{f"trainer.{name}": config.trainer[name] for name in ("max_steps", "val_check_interval")})
    callbacks = [
        history,
        ValidationLines(history),
        TrainingPictures(OmegaConf.to_yaml(config, resolve=True)),
        Continuation(settings),
        NotFinite(run / LAST, config.on_nan),
        Interruption(run / LAST),
        LastCheckpoint(run / LAST, config.checkpoint_every),
        *instantiate(config.callbacks).values(),
    ]
    logger = instantiate(config.logger)
    return instantiate(config.trainer, callbacks=callbacks, logger=logger, plugins=[WholeFileCheckpoints()])


if __name__ == "__main__":
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come through to be said below, in one sentence
    warnings.filterwarnings("ignore", category=PossibleUserWarning)  # advice on loader workers: a setting of ours
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")  # Lightning 2.6 with torch 2.13
    warnings.filterwarnings("ignore", message=r"Checkpoint directory .* exists and is not empty")  # a run goes on
    warnings.filterwarnings("ignore", message=r"Be aware that when using `ckpt_path`")  # callbacks may change
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with plain_mistakes(HydraException, OmegaConfBaseException):
        train()
