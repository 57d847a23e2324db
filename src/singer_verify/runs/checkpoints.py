"""Checkpoints read, without running anything in them."""

import hashlib
import json
import struct
import zipfile
import zlib
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from singer_verify.atomic_files import atomic_write_many
from singer_verify.errors import SingerVerifyError
from singer_verify.runs.model_metadata import METADATA_KEY, METADATA_VERSION

BEST_CHECKPOINT, LAST_CHECKPOINT, SAVED_MODEL = (
    Path("checkpoints/best.ckpt"),
    Path("checkpoints/last.ckpt"),
    Path("saved_model.pt"),
)
MODEL_PATH_HINT = "give a run folder, a .ckpt or a saved_model.pt of singer_verify"
# What reading a damaged file can end in.
DAMAGED_FILE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    OSError,
    struct.error,
    OverflowError,
)
# Names in a Lightning checkpoint, and the names that earlier singer encoders gave the same tensors.
LEGACY_PARAMETER_NAMES = {
    "loss.terms.ge2e.scale": "similarity_weight",
    "loss.terms.ge2e.offset": "similarity_bias",
    "loss.terms.ce.class_layer.weight": "class_layer.weight",
    "loss.terms.ce.class_layer.bias": "class_layer.bias",
}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content on the CPU; nothing in it is executed.

    Raises:
        SingerVerifyError: no such file, not a checkpoint, not ours, or of another version.
    """
    if not path.is_file():
        raise SingerVerifyError(f"{path}: no such file; {MODEL_PATH_HINT}.")
    try:
        _verify_zip_checksums(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED_FILE_ERRORS as error:
        raise SingerVerifyError(
            f"{path}: is damaged, or holds more than plain tensors and values, and was not loaded; {MODEL_PATH_HINT}."
        ) from error
    card = checkpoint.get(METADATA_KEY) if isinstance(checkpoint, dict) else None
    if not isinstance(card, dict):
        raise SingerVerifyError(
            f"{path}: is not a checkpoint of singer_verify (it carries no recipe); {MODEL_PATH_HINT}."
        )
    if card.get("version") != METADATA_VERSION:
        raise SingerVerifyError(
            f"{path}: has format {card.get('version')}; this version reads {METADATA_VERSION}; {MODEL_PATH_HINT}."
        )
    assert isinstance(checkpoint, dict)
    return checkpoint


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint to a neighbouring file, then rename it into place.

    Raises:
        SingerVerifyError: the file cannot be written; an earlier file of that name is left as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write_many(path) as (part,):
            torch.save(checkpoint, part)
    except (OSError, RuntimeError) as error:
        before = "the one before is still there" if path.exists() else "there is none before it"
        raise SingerVerifyError(f"{path}: cannot be written ({error}); {before}; free some space.") from error


def _verify_zip_checksums(path: Path) -> None:
    """Compare every entry of the file with its checksum, which torch does for some of them only."""
    with zipfile.ZipFile(path) as entries:
        if (damaged := entries.testzip()) is not None:
            raise zipfile.BadZipFile(f"{damaged} does not agree with its checksum")


def find_checkpoint(model: Path) -> Path:
    """The checkpoint meant by a run folder (its best) or by a path to a checkpoint.

    Raises:
        SingerVerifyError: the folder has no best checkpoint.
    """
    if not model.is_dir():
        return model
    if not (model / BEST_CHECKPOINT).is_file():
        raise SingerVerifyError(
            f"{model}: has no {BEST_CHECKPOINT}, so it is not the folder of a run; {MODEL_PATH_HINT}."
        )
    return model / BEST_CHECKPOINT


def extract_encoder_state(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The encoder's weights in a Lightning checkpoint or in a `saved_model.pt`, under the encoder's own names."""
    if "model_state" in checkpoint:
        others = LEGACY_PARAMETER_NAMES.values()
        return {name: tensor for name, tensor in checkpoint["model_state"].items() if name not in others}
    prefix = "encoder."
    state = checkpoint.get("state_dict", {}).items()
    return {name.removeprefix(prefix): tensor for name, tensor in state if name.startswith(prefix)}


def extract_loss_state(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The loss's parameters in a Lightning checkpoint or in a `saved_model.pt`, under the loss's own names."""
    prefix = "loss."
    state = checkpoint.get("state_dict", {})
    if "model_state" in checkpoint:
        state = rename_legacy_parameters(checkpoint["model_state"])
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def rename_legacy_parameters(model_state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The losses' parameters in the `model_state` of earlier singer encoders, as a Lightning checkpoint names them."""
    tensors = {name: model_state[earlier] for name, earlier in LEGACY_PARAMETER_NAMES.items() if earlier in model_state}
    return {name: tensor.reshape(()) if "ge2e" in name else tensor for name, tensor in tensors.items()}


FINGERPRINT_KEYS = ("recipe", "encoder", "window_frames")


def compute_fingerprint(checkpoint: dict[str, Any]) -> str:
    """SHA-256 of the encoder's weights, of its settings and of the feature recipe, as hexadecimal digits.

    The best checkpoint of a run and its `saved_model.pt` have the same one.

    Args:
        checkpoint: content of a Lightning checkpoint or of a `saved_model.pt`.
    """
    card = checkpoint[METADATA_KEY]
    parts = {name: card[name] for name in FINGERPRINT_KEYS}
    checksum = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for name, tensor in sorted(extract_encoder_state(checkpoint).items()):
        checksum.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        checksum.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return checksum.hexdigest()


HISTORY_KEY = "MetricHistory"  # `runs.history`, which is not imported here: Lightning takes seconds


def read_validation_threshold(checkpoint: dict[str, Any]) -> tuple[float, int] | None:
    """The cosine at the equal error rate of the validation of this very model, and the number of singers it heard.

    None where the model was not validated at its step, or the checkpoint does not tell: a `saved_model.pt`, imported
    weights, or one of an earlier version.

    Args:
        checkpoint: content of a Lightning checkpoint.
    """
    history = checkpoint.get("callbacks", {}).get(HISTORY_KEY, {})
    for figures in reversed(history.get("figures", [])):
        if figures["step"] == checkpoint["global_step"] and "val/threshold" in figures and history.get("num_singers"):
            return float(figures["val/threshold"]), int(history["num_singers"])
    return None
