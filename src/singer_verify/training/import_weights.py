"""Import of weights that other programs trained into a run folder."""

import importlib.metadata
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.export.seed_format import export_saved_model
from singer_verify.features.feature import Feature
from singer_verify.features.normalisation import NO_NORMALISATION, STATISTICS_KEY, Normalisation
from singer_verify.features.recipe import canonical_recipe
from singer_verify.runs.checkpoints import DAMAGED_FILE_ERRORS, rename_legacy_parameters, write_checkpoint
from singer_verify.runs.folder import BEST_CHECKPOINT, record_run, refuse_existing_run
from singer_verify.runs.model_metadata import METADATA_KEY, ModelMetadata
from singer_verify.runs.provenance import compute_file_sha256

log = logging.getLogger(__name__)

SUPPORTED_LAYOUTS_HINT = (
    "expected `model_state` (singer_id_encoder, Resemblyzer, Real-Time-Voice-Cloning) or `model_b` (AutoVC's speaker "
    "encoder) with an LSTM and a linear layer"
)
ENCODER_PREFIXES = ("lstm.", "linear.", "attention.")
LEGACY_GE2E_NAMES = ("similarity_weight", "similarity_bias")  # a classifier is useless without the names of its singers


@dataclass(frozen=True)
class ExternalWeights:
    """An encoder's weights under the names of singer_verify.

    Attributes:
        encoder: settings of the encoder, inferred from the shapes of the weights.
        state: parameters of the encoder and of GE2ELoss, by their names in a Lightning checkpoint.
        step: training step of the weights, 0 where the file does not say.
        dropped: tensors of the file that are not used.
    """

    encoder: dict[str, Any]
    state: dict[str, Tensor]
    step: int
    dropped: list[str]


def read_external_weights(path: Path) -> ExternalWeights:
    """Read weights in one of the supported layouts; nothing in the file is executed.

    Raises:
        SingerVerifyError: no such file, more than plain tensors in it, another layout, or a checkpoint of
            singer_verify.
    """
    content = _load_external_file(path)
    if METADATA_KEY in content:
        raise SingerVerifyError(f"{path}: is a checkpoint of singer_verify; use it as it is.")
    is_autovc = "model_b" in content
    named = content.get("model_b" if is_autovc else "model_state")
    if not isinstance(named, dict):
        raise SingerVerifyError(f"{path}: holds {', '.join(map(str, content)) or 'nothing'}; {SUPPORTED_LAYOUTS_HINT}.")
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in named.items() if torch.is_tensor(tensor)}
    if is_autovc:
        tensors = {re.sub(r"^embedding\.", "linear.", name): tensor for name, tensor in tensors.items()}
    weights = {name: tensor for name, tensor in tensors.items() if name.startswith(ENCODER_PREFIXES)}
    encoder = _infer_encoder_settings(path, weights, relu=not is_autovc)
    losses = rename_legacy_parameters({name: tensors[name] for name in LEGACY_GE2E_NAMES if name in tensors})
    state = {f"encoder.{name}": tensor for name, tensor in weights.items()} | losses
    step = content.get("step", 0)
    dropped = sorted(set(tensors) - set(weights) - set(LEGACY_GE2E_NAMES))
    return ExternalWeights(encoder, state, step if isinstance(step, int) else 0, dropped)


def import_weights_as_run(
    path: Path, feature: Feature, window_frames: int, run: Path, normalisation: Normalisation = NO_NORMALISATION
) -> None:
    """Create a run folder from weights trained elsewhere, to evaluate, embed with or fine-tune.

    Args:
        path: file of the weights.
        feature: feature that computes the frames they were trained on.
        window_frames: length of an evaluation window.
        run: folder to create.
        normalisation: normalisation of those frames.

    Raises:
        SingerVerifyError: the folder holds a run, the weights cannot be read, or they expect other frames.
    """
    refuse_existing_run(run)
    weights = read_external_weights(path)
    if weights.encoder["num_bins"] != feature.num_bins:
        raise SingerVerifyError(
            f"{path}: takes frames of {weights.encoder['num_bins']} bins, but the recipe computes "
            f"{feature.num_bins}; name the recipe it was trained on."
        )
    if normalisation.needs_training_split:
        raise SingerVerifyError(
            f"{path}: features.normalise={normalisation.name} needs the statistics of its training corpus; add them to "
            f"the recipe as {STATISTICS_KEY}: {{mean: [...], deviation: [...]}}."
        )
    recipe = canonical_recipe(feature.recipe | {"normalise": normalisation.name})
    card = ModelMetadata(recipe | normalisation.statistics, weights.encoder, window_frames, ())
    config = {"features": recipe, "encoder": weights.encoder, "data": {"num_frames": window_frames}}
    imported = {
        "file": path.name,
        "sha256": compute_file_sha256(path),
        "step": weights.step,
        "dropped": weights.dropped,
    }
    write_checkpoint(_build_lightning_checkpoint(weights) | {METADATA_KEY: card.to_dict()}, run / BEST_CHECKPOINT)
    export_saved_model(run)
    record_run(run, yaml.safe_dump(config, sort_keys=False), [], imported=imported)
    if weights.dropped:
        log.info("%s: not imported: %s.", path, ", ".join(weights.dropped))


def _build_lightning_checkpoint(weights: ExternalWeights) -> dict[str, Any]:
    return {
        "state_dict": weights.state,
        "global_step": weights.step,
        "epoch": 0,
        "pytorch-lightning_version": importlib.metadata.version("pytorch-lightning"),
    }


def _load_external_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise SingerVerifyError(f"{path}: no such file; {SUPPORTED_LAYOUTS_HINT}.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (*DAMAGED_FILE_ERRORS, TypeError, AttributeError) as error:
        raise SingerVerifyError(
            f"{path}: is damaged, or holds more than plain tensors and values, and was not loaded; "
            f"{SUPPORTED_LAYOUTS_HINT}."
        ) from error
    if not isinstance(content, dict):
        raise SingerVerifyError(f"{path}: holds a {type(content).__name__}; {SUPPORTED_LAYOUTS_HINT}.")
    return content


def _infer_encoder_settings(path: Path, weights: dict[str, Tensor], relu: bool) -> dict[str, Any]:
    """Infer the settings of the encoder whose parameters have exactly these names and shapes."""
    try:
        encoder = LSTMEncoder(
            num_bins=weights["lstm.weight_ih_l0"].shape[1],
            hidden_size=weights["lstm.weight_hh_l0"].shape[1],
            num_layers=sum(re.fullmatch(r"lstm\.weight_hh_l\d+", name) is not None for name in weights),
            embedding_size=weights["linear.weight"].shape[0],
            bidirectional="lstm.weight_hh_l0_reverse" in weights,
            relu=relu,
            pooling="attention" if "attention.weight" in weights else "last",
        )
        encoder.load_state_dict(weights)
    except (KeyError, IndexError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise SingerVerifyError(
            f"{path}: its tensors do not form an LSTM encoder ({reason}); {SUPPORTED_LAYOUTS_HINT}."
        ) from error
    return encoder.settings
