"""Build the data, the network and the trainer of a run from its configuration, which is only read."""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Checkpoint, ProgressBar
from torch import nn

from singer_verify.data.datamodule import SingerDataModule
from singer_verify.encoders.encoder import freeze
from singer_verify.errors import require_at_least
from singer_verify.features.normalisation import Normalisation
from singer_verify.features.recipe import get_feature_settings
from singer_verify.features.trimming import with_trimming
from singer_verify.training.checkpoint_io import AtomicCheckpointIO
from singer_verify.training.composition import resolve_config
from singer_verify.training.fine_tuning import inherited_normalisation
from singer_verify.training.module import Verifier, build_metadata
from singer_verify.training.parts import check_augmentation, check_encoder, check_feature, check_loss


def build_data(config: DictConfig, ckpt_path: str | None = None) -> SingerDataModule:
    """Build the data module, whose frames are not computed yet.

    Args:
        config: settings of the run.
        ckpt_path: checkpoint that the run continues from, whose statistics of the training split are kept.
    """
    recipe = resolve_config(config.features) | inherited_normalisation(ckpt_path, config.init_from)
    feature = with_trimming(instantiate(get_feature_settings(recipe)), recipe)
    normalisation, augmentation = Normalisation.from_recipe(recipe), instantiate(config.augmentation)
    check_feature(feature)
    check_augmentation(augmentation)
    parts = {"feature": feature, "normalisation": normalisation, "augmentation": augmentation}
    data: SingerDataModule = instantiate(config.data, **parts, seed=config.seed)
    return data


def build_encoder(config: DictConfig, data: SingerDataModule) -> nn.Module:
    """Build the encoder for the bins of the data."""
    encoder: nn.Module = instantiate(config.encoder, num_bins=data.feature.num_bins)
    check_encoder(encoder, data.feature.num_bins)
    return encoder


def build_verifier(config: DictConfig, data: SingerDataModule, settings: dict[str, Any]) -> Verifier:
    """Build the module that trains an encoder with a loss on prepared data; wrong settings are refused here.

    Args:
        config: settings of the run.
        data: prepared and set up.
        settings: what its checkpoints record.
    """
    encoder = build_encoder(config, data)
    num_singers, embedding_size = len(data.train_singers), encoder.embedding_size
    loss = instantiate(config.loss, num_singers=num_singers, embedding_size=embedding_size)
    check_loss(loss, encoder)
    freeze(encoder, config.freeze or [])
    loss.require_utterances(config.data.utterances_per_singer)
    optimizer, scheduler = instantiate(config.optimizer), instantiate(config.scheduler)
    metadata = build_metadata(data, encoder)
    verifier = Verifier(encoder, loss, optimizer, scheduler, config.monitor, metadata, settings)
    verifier.configure_optimizers()
    return verifier


def build_trainer(config: DictConfig, callbacks: Sequence[pl.Callback] = ()) -> pl.Trainer:
    """Build Lightning's trainer with the callbacks and loggers of the configuration.

    Args:
        config: settings of the run.
        callbacks: called before those of the configuration.
    """
    require_at_least(1, **{f"trainer.{name}": config.trainer[name] for name in ("max_steps", "val_check_interval")})
    callbacks = [*callbacks, *(callback for callback in instantiate(config.callbacks).values() if callback)]
    own = {  # which Lightning adds where there is none
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
    }
    absent = {name: is_there for name, is_there in own.items() if name not in config.trainer}
    logger = list(instantiate(config.get("logger") or {}).values()) or False
    return instantiate(config.trainer, callbacks=callbacks, logger=logger, plugins=[AtomicCheckpointIO()], **absent)
