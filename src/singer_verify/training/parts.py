"""Build the parts of a training, and refuse those that training or loading its model could not use."""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Checkpoint, LearningRateMonitor, ProgressBar
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor, nn

from singer_verify.data.augmentation.augmentation import AugmentationChain
from singer_verify.data.datamodule import SingerDataModule
from singer_verify.encoders.encoder import Encoder, freeze, freeze_batchnorm, has_frozen_batchnorm
from singer_verify.errors import SingerVerifyError, require_attributes
from singer_verify.features.feature import Feature
from singer_verify.features.normalisation import Normalisation
from singer_verify.features.recipe import get_feature_settings
from singer_verify.features.voice import unwrap_feature, with_frame_settings
from singer_verify.losses.weighted import WeightedLoss
from singer_verify.runs.settings import iterate_leaf_settings
from singer_verify.safe_loading import OWN_PACKAGE, refuse_untrusted_targets, require_rebuildable, trust
from singer_verify.training.callbacks.checkpoints import AtomicCheckpointIO
from singer_verify.training.composition import resolve_config
from singer_verify.training.cuda_graph import CUDA_GRAPH_SETTING, require_graph_device
from singer_verify.training.fine_tuning import inherited_normalisation
from singer_verify.training.module import Verifier, build_metadata

FEATURE_ATTRIBUTES = {
    "sample_rate": "the sample rate it is called with in Hz, an int",
    "hop_ms": "the time from frame to frame in ms",
    "num_bins": "the number of bins of a frame, an int",
    "bandwidth_hz": "the highest frequency in Hz that the frames depend on",
    "recipe": "what rebuilds the feature, a dict of plain values with _target_",
}
ENCODER_ATTRIBUTES = {
    "embedding_size": "the size of its embeddings, an int",
    "settings": "what rebuilds the encoder, a dict of plain values with _target_",
}
AUGMENTATION_ATTRIBUTES = {
    "p": "the probability that a crop is changed",
    "num_draws": "the number of random numbers it takes per crop, an int",
}
TRIAL_FRAMES = 50  # frames that an encoder is tried on
UNIT_TOLERANCE = 1e-3


def trust_packages(config: dict[str, Any]) -> None:
    """Trust the packages that a configuration lists, and refuse classes in it which loading its run would refuse.

    Call it with the configuration that the user composed, before anything is read from an earlier run.

    Raises:
        SingerVerifyError: naming the class, and its package and how to trust it.
    """
    packages = config.get("trust") or []
    if not isinstance(packages, str | list):
        raise SingerVerifyError(f"trust={packages}: expected names of packages, for example trust=[my_package].")
    trust([packages] if isinstance(packages, str) else packages)
    refuse_untrusted_targets(config)


def check_feature(feature: object) -> None:
    """Refuse a feature that lacks what `features.feature.Feature` asks for, or that cannot be rebuilt.

    One of another package is tried on a second of noise.

    Raises:
        SingerVerifyError: naming what is missing or wrong.
    """
    require_attributes("features", feature, FEATURE_ATTRIBUTES)
    assert isinstance(feature, Feature)
    recipe = get_feature_settings(feature.recipe)
    innermost = unwrap_feature(feature)
    require_rebuildable("features.recipe", innermost, recipe, "singer_verify.features")
    if type(innermost).__module__.partition(".")[0] != OWN_PACKAGE:
        noise = 0.1 * torch.randn(feature.sample_rate, generator=torch.Generator().manual_seed(0))
        frames = _try_part("features", innermost, noise)
        if frames.ndim != 2 or frames.shape[1] != feature.num_bins or len(frames) < 1:
            raise SingerVerifyError(
                f"features: {type(innermost).__qualname__} maps {len(noise)} samples to shape {tuple(frames.shape)}; "
                f"expected (frames, num_bins={feature.num_bins})."
            )


def check_encoder(encoder: object, num_bins: int) -> None:
    """Refuse an encoder that lacks what `encoders.encoder.Encoder` asks for, or that cannot be rebuilt.

    A rebuilt copy is tried on a few frames.

    Args:
        encoder: the encoder.
        num_bins: number of bins of a frame.

    Raises:
        SingerVerifyError: naming what is missing or wrong.
    """
    if not isinstance(encoder, nn.Module):
        raise SingerVerifyError(f"encoder: is a {type(encoder).__name__}; expected an nn.Module.")
    require_attributes("encoder", encoder, ENCODER_ATTRIBUTES)
    assert isinstance(encoder, Encoder)
    with torch.random.fork_rng(devices=[]):
        rebuilt = require_rebuildable("encoder.settings", encoder, encoder.settings, "singer_verify.encoders").eval()
        frames = torch.rand(2, TRIAL_FRAMES, num_bins)
        embeddings = _try_part("encoder", rebuilt, frames)
    shapes, others = (
        {name: tuple(value.shape) for name, value in part.state_dict().items()} for part in (encoder, rebuilt)
    )
    if differing := sorted(name for name in shapes | others if shapes.get(name) != others.get(name)):
        name = differing[0]
        raise SingerVerifyError(
            f"encoder.settings: rebuild another network, whose {name} has shape {others.get(name)} instead of "
            f"{shapes.get(name)}; list every argument of the constructor in them."
        )
    expected = (2, encoder.embedding_size)
    if tuple(embeddings.shape) != expected:
        raise SingerVerifyError(
            f"encoder: {type(encoder).__qualname__} maps frames of shape {tuple(frames.shape)} to "
            f"{tuple(embeddings.shape)}; expected (batch, embedding_size) = {expected}."
        )
    norms = embeddings.float().norm(dim=1)
    if not ((norms - 1).abs() < UNIT_TOLERANCE).logical_or(norms == 0).all():
        raise SingerVerifyError(
            f"encoder: {type(encoder).__qualname__} gives embeddings of length {norms.tolist()[0]:.3g}; expected 1: "
            f"end forward with torch.nn.functional.normalize(..., dim=1)."
        )


def check_loss(loss: WeightedLoss, encoder: nn.Module) -> None:
    """Refuse a loss whose terms do not fit the encoder or the contract of `losses.weighted.LossTerm`.

    Raises:
        SingerVerifyError: naming the term.
    """
    loss.require_named_outputs(int(encoder.embedding_size))  # type: ignore[arg-type]
    if not any(True for _ in encoder.parameters()):
        for name, term in loss.iterate_terms():
            if term.singer_specific:
                raise SingerVerifyError(
                    f"loss: its term {name} trains a classifier together with the encoder, and "
                    f"{type(encoder).__name__} is not trained; take loss=ge2e, which does nothing there, or another "
                    f"encoder."
                )


def check_augmentation(chain: AugmentationChain) -> None:
    """Refuse augmentations that lack what `data.augmentation.augmentation` asks for.

    Raises:
        SingerVerifyError: naming the augmentation and what is missing.
    """
    for kind, augmenters in (("samples", chain.samples), ("frames", chain.frames)):
        for name, augmenter in augmenters.items():
            of_samples = {"context_ratio": "input length divided by valid output length, at least 1"}
            expected = AUGMENTATION_ATTRIBUTES | (of_samples if kind == "samples" else {})
            require_attributes(f"augmentation.{kind}.{name}", augmenter, expected)


def _try_part(name: str, part: Any, given: Tensor) -> Tensor:
    """Call a part once, and turn whatever it raises into one message."""
    try:
        with torch.no_grad():
            result = part(given)
    except SingerVerifyError:
        raise
    except Exception as error:  # parts are user code, which can raise anything
        raise SingerVerifyError(
            f"{name}: {type(part).__qualname__} fails on a tensor of shape {tuple(given.shape)} "
            f"({type(error).__name__}: {error}); call it by hand to see where."
        ) from error
    if not isinstance(result, Tensor) or not result.is_floating_point() or not result.isfinite().all():
        raise SingerVerifyError(
            f"{name}: {type(part).__qualname__} returns {type(result).__name__}"
            f"{f' of {result.dtype}' if isinstance(result, Tensor) else ''}; expected a tensor of finite floats."
        )
    return result


def build_data(config: DictConfig, ckpt_path: str | None = None) -> SingerDataModule:
    """Build the data module, whose frames are not computed yet.

    Args:
        config: settings of the run.
        ckpt_path: checkpoint that the run continues from, whose statistics of the training split are kept.
    """
    recipe = resolve_config(config.features) | inherited_normalisation(ckpt_path, config.init_from)
    feature = with_frame_settings(instantiate(get_feature_settings(recipe)), recipe)
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
        data: prepared and set up; before that, the module can be built, but not saved.
        settings: configuration that its checkpoints record.
    """
    encoder = build_encoder(config, data)
    num_singers, embedding_size = len(data.train_singers), encoder.embedding_size
    targets = {} if data.targets is None else {"targets": data.targets}
    loss = instantiate(config.loss, num_singers=num_singers, embedding_size=embedding_size, **targets)
    check_loss(loss, encoder)
    freeze(encoder, config.get("freeze") or [])
    if config.get("freeze_batchnorm"):
        freeze_batchnorm(encoder)
    if config.trainer.get("sync_batchnorm") and has_frozen_batchnorm(encoder):
        raise SingerVerifyError(
            "trainer.sync_batchnorm=true: replaces every BatchNorm by a new one that follows the batches; leave it out "
            "where the statistics of one are to stay (freeze_batchnorm, freeze)."
        )
    loss.require_utterances(config.data.utterances_per_singer)
    optimizer, scheduler = instantiate(config.optimizer), instantiate(config.scheduler)
    metadata = build_metadata(data, encoder) if data.stores else None
    layer_decay = config.get("layer_decay", 1.0)
    lr_multipliers = dict(iterate_leaf_settings(settings.get("lr_multipliers") or {}))
    parts = (encoder, loss, optimizer, scheduler, config.monitor, metadata, settings)
    verifier = Verifier(*parts, layer_decay, lr_multipliers, config.trainer.get(CUDA_GRAPH_SETTING, "auto"))
    verifier.configure_optimizers()
    return verifier


def build_trainer(config: DictConfig, callbacks: Sequence[pl.Callback] = ()) -> pl.Trainer:
    """Build Lightning's trainer with the callbacks and loggers of the configuration.

    Args:
        config: settings of the run.
        callbacks: callbacks that run before those of the configuration.

    Raises:
        SingerVerifyError: what Lightning refuses, for instance more devices than there are, and what could not train.
    """
    configured = instantiate(config.get("callbacks") or {}).values()
    callbacks = [*callbacks, *(callback for callback in configured if callback)]
    logger = list(instantiate(config.get("logger") or {}).values()) or False
    if not logger:  # Lightning refuses this one then
        callbacks = [callback for callback in callbacks if not isinstance(callback, LearningRateMonitor)]
    own = {  # which Lightning adds where there is none
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
    }
    absent = {name: is_there for name, is_there in own.items() if name not in config.trainer}
    arguments = OmegaConf.masked_copy(config.trainer, [name for name in config.trainer if name != CUDA_GRAPH_SETTING])
    try:
        trainer: pl.Trainer = instantiate(
            arguments, callbacks=callbacks, logger=logger, plugins=[AtomicCheckpointIO()], **absent
        )
    except InstantiationException as error:
        reason = " ".join(str(error.__cause__ or error).replace("`", "").split())
        raise SingerVerifyError(f"trainer: {reason}") from error
    if config.trainer.get(CUDA_GRAPH_SETTING) is True:
        require_graph_device(trainer.strategy.root_device, trainer.world_size)
    is_parallel = isinstance(trainer.strategy, ParallelStrategy)
    if config.trainer.get("sync_batchnorm") and is_parallel and trainer.strategy.root_device.type != "cuda":
        raise SingerVerifyError(
            "trainer.sync_batchnorm=true: takes statistics over the crops of several GPUs, and the training runs on "
            f"{trainer.strategy.root_device.type}; leave it out."
        )
    return trainer


def require_measured_monitors(settings: dict[str, Any], trainer: pl.Trainer, verifier: Verifier) -> None:
    """Refuse to monitor what no validation measures, unless a callback of another package may measure it.

    Args:
        settings: configuration of the run.
        trainer: trainer with all its callbacks.
        verifier: module whose validations are meant.

    Raises:
        SingerVerifyError: naming the setting and what is measured.
    """
    packages = {type(callback).__module__.partition(".")[0] for callback in trainer.callbacks}  # type: ignore[attr-defined]
    if not packages <= {OWN_PACKAGE, pl.__name__}:
        return
    monitored = {"monitor": settings.get("monitor")}
    for name, callback in (settings.get("callbacks") or {}).items():
        own = (callback or {}).get("monitor")
        if isinstance(own, str) and own.startswith("val/"):  # others may be measured in training
            monitored.setdefault(f"callbacks.{name}.monitor", own)
    for name, metric in monitored.items():
        if metric is not None and metric not in verifier.validation_metrics:
            raise SingerVerifyError(
                f"{name}={metric}: is not measured; expected one of {', '.join(sorted(verifier.validation_metrics))}."
            )
