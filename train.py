"""Train a singer verification network: compose the settings, build the parts, run, report."""

import logging
import os
from pathlib import Path

from singer_verify.environment import set_torch_environment

set_torch_environment()  # before torch is loaded

# isort: split
import hydra
import pytorch_lightning as pl
import rich
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.callbacks import Checkpoint, ProgressBar

from singer_verify.cli.console import (
    configure_logging,
    escape_undecodable_output,
    format_user_error,
    report_user_errors,
    silence_console,
    silence_library_warnings,
)
from singer_verify.data.datamodule import SingerDataModule
from singer_verify.data.split_stores import compute_split_recording_ids
from singer_verify.encoders.encoder import freeze
from singer_verify.errors import SingerVerifyError, require_at_least
from singer_verify.features.normalisation import Normalisation
from singer_verify.features.recipe import canonical_recipe, get_feature_settings
from singer_verify.features.trimming import with_trimming
from singer_verify.runs.checkpoints import LAST_CHECKPOINT
from singer_verify.runs.folder import claim_run_folder, find_run_folder, record_run
from singer_verify.runs.model_metadata import ModelMetadata
from singer_verify.runs.settings import find_allowed_changes, merge_overrides, read_overrides
from singer_verify.safe_loading import refuse_untrusted_targets
from singer_verify.sweeps.callback import report_failed_jobs
from singer_verify.sweeps.jobs import is_sweep_leader, lock_job, run_job
from singer_verify.training.callbacks.exact_resume import read_previous_settings
from singer_verify.training.callbacks.last_checkpoint import warn_of_missing_checkpoints
from singer_verify.training.callbacks.metric_history import find_history
from singer_verify.training.callbacks.progress import build_run_summary_table
from singer_verify.training.checkpoint_io import AtomicCheckpointIO
from singer_verify.training.composition import resolve_config
from singer_verify.training.fine_tuning import ParentCheckpoint, inherited_normalisation
from singer_verify.training.fit import fit, write_training_results
from singer_verify.training.module import ValidationSet, Verifier
from singer_verify.training.parts import check_augmentation, check_encoder, check_feature, check_loss, trust_packages

log = logging.getLogger("singer_verify.train")
IS_FIRST_RANK = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # of those that train one model: it writes


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def train(config: DictConfig) -> float | None:
    """Run one training, or a job of a sweep; returns the best value of the monitored metric."""
    run = Path(HydraConfig.get().runtime.output_dir)
    return train_job(run, config) if HydraConfig.get().mode == RunMode.MULTIRUN else train_run(run, config)


def train_job(run: Path, config: DictConfig) -> float | None:
    """A training as a job of a sweep; the console belongs to the process that leads the sweep."""
    if not is_sweep_leader(run):
        silence_console()

    def train_from(checkpoint: Path | None) -> None:
        if checkpoint:
            config.ckpt_path = str(checkpoint)
        train_run(run, config)

    try:
        settings = resolve_config(config)
    except OmegaConfBaseException:
        with lock_job(run, format_user_error):
            raise
    return run_job(run, settings, train_from, format_user_error)


def train_run(run: Path, config: DictConfig) -> float | None:
    start(run, config)
    trust_packages(resolve_config(config))
    config, typed = with_typed_before(config)
    settings = resolve_config(config)
    then = read_previous_settings(Path(config.ckpt_path), settings) if config.ckpt_path else None
    parent = read_parent(config)
    data = build_data(config, parent)
    settings["corpus"] = data.describe_contents()
    if then is not None:
        find_allowed_changes(then, settings)
    torch.set_flush_denormal(True)  # gradients that fade over 200 frames would make a CPU ten times slower
    pl.seed_everything(config.seed, workers=True, verbose=False)  # now, for computing frames draws random numbers
    verifier = build_verifier(config, data, parent)
    origin = parent.record(run, parent.transfer_weights(verifier)) if parent else None
    verifier.settings = settings
    trainer = build_trainer(config)
    find_history(trainer, "metrics.json")
    warn_of_missing_checkpoints(trainer)
    if IS_FIRST_RANK:
        record_run(run, OmegaConf.to_yaml(config, resolve=True), typed, parent=origin)
    result = fit(trainer, verifier, data, config.ckpt_path)
    if IS_FIRST_RANK:
        write_training_results(run, result)
        rich.print(build_run_summary_table(result, run))
    return result["best"][config.monitor] if result["best"] else None


def start(run: Path, config: DictConfig) -> None:
    """Refuse the folder of another run than the one that continues, if one does, and begin the log."""
    if not IS_FIRST_RANK:
        configure_logging(rich.get_console(), level=logging.WARNING)
        return
    checkpoint = Path(config.ckpt_path) if config.ckpt_path else None
    claim_run_folder(run, Path(config.resume) if config.resume else checkpoint and find_run_folder(checkpoint))
    configure_logging(rich.get_console(), run / "train.log")


def with_typed_before(config: DictConfig) -> tuple[DictConfig, list[str]]:
    """With `resume`, the settings as they were typed for that run, and as typed now where these differ."""
    typed = merge_overrides([], list(HydraConfig.get().overrides.task))
    if config.resume is None:
        return config, typed
    run = Path(config.resume)
    typed = merge_overrides(read_overrides(run), typed)
    config = hydra.compose("train", typed)
    refuse_untrusted_targets(resolve_config(config))
    if (run / LAST_CHECKPOINT).exists():
        config.ckpt_path = str(run / LAST_CHECKPOINT)
    else:
        log.info("%s: was stopped before its first checkpoint; starting again.", run)
    return config, typed


def read_parent(config: DictConfig) -> ParentCheckpoint | None:
    """The run whose weights this one begins with; a training that is continued has its own."""
    if config.init_optimizer and (config.init_from is None or config.freeze):
        raise SingerVerifyError(
            f"init_optimizer=true with init_from={config.init_from} and freeze={config.freeze}: expected a parent and "
            f"nothing frozen, so that its optimiser moved the same parameters."
        )
    return ParentCheckpoint.read(config.init_from) if config.init_from and not config.ckpt_path else None


def build_data(config: DictConfig, parent: ParentCheckpoint | None = None) -> SingerDataModule:
    """Read the corpus, compute its frames, and write what only the data decides into the configuration."""
    recipe = resolve_config(config.features) | inherited_normalisation(config.ckpt_path, config.init_from)
    feature = with_trimming(instantiate(get_feature_settings(recipe)), recipe)
    normalisation, augmentation = Normalisation.from_recipe(recipe), instantiate(config.augmentation)
    check_feature(feature)
    check_augmentation(augmentation)
    parts = {"feature": feature, "normalisation": normalisation, "augmentation": augmentation}
    data: SingerDataModule = instantiate(config.data, **parts, seed=config.seed)
    config.features = canonical_recipe(data.recipe)
    config.data.num_frames, config.data.window_frames = data.num_frames, data.window_frames
    config.encoder.num_bins = data.feature.num_bins
    if parent:
        parent.require_match(data.recipe, instantiate(config.encoder).settings)
    data.prepare_data()
    data.setup()
    return data


def build_verifier(config: DictConfig, data: SingerDataModule, parent: ParentCheckpoint | None = None) -> Verifier:
    encoder, make_optimizer = instantiate(config.encoder), instantiate(config.optimizer)
    check_encoder(encoder, data.feature.num_bins)
    loss = instantiate(config.loss, num_singers=len(data.train_singers), embedding_size=encoder.embedding_size)
    check_loss(loss, encoder)
    if parent and config.init_optimizer:
        make_optimizer = parent.transfer_optimizer_state(make_optimizer)
    freeze(encoder, config.freeze or [])
    loss.require_utterances(config.data.utterances_per_singer)
    recordings, singers = (
        compute_split_recording_ids(data.corpus.root, data.stores),
        (data.train_singers, data.stores["val"].singers),
    )
    card = ModelMetadata(
        data.recipe, encoder.settings, data.window_frames, *singers, recordings, config.data.store_dtype
    )
    scheduler, interval = instantiate(config.scheduler), config.trainer.val_check_interval
    verifier = Verifier(encoder, loss, make_optimizer, scheduler, config.monitor, interval, card)
    verifier.validation_set = ValidationSet.of(data.stores["val"], data.corpus)
    verifier.configure_optimizers()  # a wrong setting is refused before the run begins
    return verifier


def build_trainer(config: DictConfig) -> pl.Trainer:
    require_at_least(1, **{f"trainer.{name}": config.trainer[name] for name in ("max_steps", "val_check_interval")})
    callbacks = [callback for callback in instantiate(config.callbacks).values() if callback]
    absent = {  # Lightning adds its own where there is none
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
    }
    absent = {name: is_there for name, is_there in absent.items() if name not in config.trainer}
    logger = list(instantiate(config.get("logger") or {}).values()) or False
    return instantiate(config.trainer, callbacks=callbacks, logger=logger, plugins=[AtomicCheckpointIO()], **absent)


if __name__ == "__main__":
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come through to be said below, in one sentence
    silence_library_warnings()
    escape_undecodable_output()
    with report_user_errors(HydraException, OmegaConfBaseException), report_failed_jobs():
        train()
