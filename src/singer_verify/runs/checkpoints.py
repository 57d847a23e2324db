"""Checkpoints: find, read and write them, without executing anything they hold."""

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from singer_verify.atomic_files import atomic_write_many
from singer_verify.errors import SingerVerifyError
from singer_verify.runs.folder import BEST_CHECKPOINT
from singer_verify.runs.model_metadata import METADATA_KEY, READABLE_METADATA_VERSIONS, ModelMetadata
from singer_verify.runs.settings import SETTINGS_KEY

VALIDATION_KEY = "singer_verify_validation"  # in a checkpoint: the last validation before it was written
CURRENT_WEIGHT_KEYS = ("current_model_state", "averaging_state")  # beside a mean of them in `state_dict`
WEIGHT_KEYS = ("state_dict", "model_state", "optimizer_states", "loops", *CURRENT_WEIGHT_KEYS)
TRAINING_STATE_KEYS = (
    *("optimizer_states", "lr_schedulers", "callbacks", "loops", "singer_verify_random_states"),
    *CURRENT_WEIGHT_KEYS,
)
HALF_WEIGHTS_KEY = "singer_verify_half_weights"  # in a checkpoint: its large tensors are stored in half precision
DOS_DIRECTORY = 0x10  # attribute of an entry in a zip file
MODEL_PATH_HINT = "give a run folder, a .ckpt or a saved_model.pt of singer_verify"
# Errors that reading a damaged file can raise.
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
# Names of tensors in a Lightning checkpoint, and in the files of earlier singer encoders.
LEGACY_PARAMETER_NAMES = {
    "loss.terms.ge2e.scale": "similarity_weight",
    "loss.terms.ge2e.offset": "similarity_bias",
    "loss.terms.ce.class_layer.weight": "class_layer.weight",
    "loss.terms.ce.class_layer.bias": "class_layer.bias",
}
FINGERPRINT_KEYS = ("recipe", "encoder", "window_frames")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint, read and checked once, then handed to everything that needs it.

        checkpoint = Checkpoint.read("runs/first")
        checkpoint.metadata.train_singers, checkpoint.fingerprint

    Attributes:
        model_path: given path, of a run folder or a file.
        path: the checkpoint file.
        content: plain values and tensors of the checkpoint.
        metadata: settings that rebuild the model, and the singers it has seen.
    """

    model_path: Path
    path: Path
    content: dict[str, Any]
    metadata: ModelMetadata

    @classmethod
    def read(cls, model: str | Path) -> "Checkpoint":
        """Read the best checkpoint of a run folder, a `.ckpt` or a `saved_model.pt`, on the CPU.

        Raises:
            SingerVerifyError: no such file, not a checkpoint of singer_verify, damaged, or of another version.
        """
        path = find_checkpoint(Path(model))
        content = read_checkpoint(path)
        try:
            metadata = ModelMetadata.from_dict(content[METADATA_KEY])
        except (KeyError, TypeError) as error:
            raise SingerVerifyError(f"{path}: its metadata is incomplete ({error}); the file is damaged.") from error
        return cls(Path(model), path, content, metadata)

    def replace_encoder(
        self, state: Mapping[str, Tensor], metadata: ModelMetadata, settings: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the content of this checkpoint with other weights of the encoder, for `write_checkpoint`.

        Counters and the parameters of the loss stay. The threshold of its validation, which was of other weights, is
        left out, and so is the state of its training.

        Args:
            state: weights of the encoder by name.
            metadata: metadata of the model they belong to.
            settings: configuration to record.
        """
        weights = {f"encoder.{name}": tensor for name, tensor in state.items()}
        weights |= {f"loss.{name}": tensor for name, tensor in extract_loss_state(self.content).items()}
        kept = {name: self.content[name] for name in ("epoch", "pytorch-lightning_version") if name in self.content}
        return kept | {
            "state_dict": weights,
            "global_step": self.step or 0,
            METADATA_KEY: metadata.to_dict(),
            SETTINGS_KEY: settings,
        }

    def without_weights(self) -> "Checkpoint":
        """Return the same checkpoint without weights and optimiser state, which take most of its memory."""
        content = {name: value for name, value in self.content.items() if name not in WEIGHT_KEYS}
        light = Checkpoint(self.model_path, self.path, content, self.metadata)
        light.__dict__["fingerprint"] = self.fingerprint
        return light

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the model, see `compute_fingerprint`; computed once."""
        return compute_fingerprint(self.content)

    @property
    def step(self) -> int | None:
        """Training step of the weights; None where the file does not record it."""
        return self.content.get("global_step", self.content.get("step"))

    @property
    def settings(self) -> dict[str, Any]:
        """Configuration of the training; empty where the file does not record it."""
        return self.content.get(SETTINGS_KEY) or {}

    @property
    def validation_threshold(self) -> tuple[float, int] | None:
        """Cosine at the equal error rate of this step's validation, and the number of its singers.

        None where the model was not validated at its step, or where the file does not record it: a `saved_model.pt`,
        or imported weights.
        """
        validation = self.content.get(VALIDATION_KEY) or {}
        if validation.get("step") != self.step or "threshold" not in validation:
            return None
        return float(validation["threshold"]), int(validation["num_singers"])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's content on the CPU; nothing in it is executed.

    Raises:
        SingerVerifyError: no such file, not a checkpoint of singer_verify, damaged, or of another version.
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
    metadata = checkpoint.get(METADATA_KEY) if isinstance(checkpoint, dict) else None
    if not isinstance(metadata, dict):
        raise SingerVerifyError(
            f"{path}: is not a checkpoint of singer_verify (it carries no recipe); {MODEL_PATH_HINT}."
        )
    if metadata.get("version") not in READABLE_METADATA_VERSIONS:
        raise SingerVerifyError(
            f"{path}: has format {metadata.get('version')}; this version reads "
            f"{' and '.join(map(str, READABLE_METADATA_VERSIONS))}; {MODEL_PATH_HINT}."
        )
    assert isinstance(checkpoint, dict)
    if checkpoint.pop(HALF_WEIGHTS_KEY, False):
        state = checkpoint.get("state_dict", {})
        checkpoint["state_dict"] = {name: _widen(tensor) for name, tensor in state.items()}
    return checkpoint


def _widen(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor


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
        previous = "the previous one is still there" if path.exists() else "there is no previous one"
        raise SingerVerifyError(f"{path}: cannot be written ({error}); {previous}; free some space.") from error


def drop_training_state(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's model: all but what a training continues from."""
    return {name: value for name, value in checkpoint.items() if name not in TRAINING_STATE_KEYS}


def _verify_zip_checksums(path: Path) -> None:
    """Compare every entry of the file with its checksum; torch does so for some of them only."""
    with zipfile.ZipFile(path) as entries:
        if (damaged := entries.testzip()) is not None:
            raise zipfile.BadZipFile(f"{damaged} does not match its checksum")
        if folders := [entry.filename for entry in entries.infolist() if entry.external_attr & DOS_DIRECTORY]:
            raise zipfile.BadZipFile(f"{folders[0]} is marked as a folder, whose content torch would not read")


def find_checkpoint(model: Path) -> Path:
    """Return the best checkpoint of a run folder; any other path is returned as it is.

    Raises:
        SingerVerifyError: the folder has no best checkpoint.
    """
    if not model.is_dir():
        return model
    if not (model / BEST_CHECKPOINT).is_file():
        raise SingerVerifyError(
            f"{model}: has no {BEST_CHECKPOINT}, so it is not a run folder with a trained model; {MODEL_PATH_HINT}."
        )
    return model / BEST_CHECKPOINT


def extract_encoder_state(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Return the encoder's weights in a checkpoint or a `saved_model.pt`, under the encoder's own names."""
    if "model_state" in checkpoint:
        others = LEGACY_PARAMETER_NAMES.values()
        return {name: tensor for name, tensor in checkpoint["model_state"].items() if name not in others}
    prefix = "encoder."
    state = checkpoint.get("state_dict", {}).items()
    return {name.removeprefix(prefix): tensor for name, tensor in state if name.startswith(prefix)}


def extract_loss_state(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Return the loss's parameters in a Lightning checkpoint or in a `saved_model.pt`, under the loss's own names."""
    prefix = "loss."
    state = checkpoint.get("state_dict", {})
    if "model_state" in checkpoint:
        state = rename_legacy_parameters(checkpoint["model_state"])
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def rename_legacy_parameters(model_state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the losses' parameters in a seed's `model_state`, under the names of a Lightning checkpoint."""
    tensors = {name: model_state[earlier] for name, earlier in LEGACY_PARAMETER_NAMES.items() if earlier in model_state}
    return {name: tensor.reshape(()) if "ge2e" in name else tensor for name, tensor in tensors.items()}


def compute_fingerprint(checkpoint: dict[str, Any]) -> str:
    """Return the SHA-256 of the encoder's weights, its settings and the feature recipe, as hexadecimal digits.

    The best checkpoint of a run and its `saved_model.pt` have the same fingerprint.

    Args:
        checkpoint: content of a Lightning checkpoint or of a `saved_model.pt`.
    """
    metadata = checkpoint[METADATA_KEY]
    parts = {name: metadata[name] for name in FINGERPRINT_KEYS}
    checksum = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for name, tensor in sorted(extract_encoder_state(checkpoint).items()):
        checksum.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        checksum.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return checksum.hexdigest()
