"""Checkpoints read, without running anything in them."""

import struct
import zipfile
import zlib
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from singer_verify.card import CARD_KEY, CARD_VERSION
from singer_verify.errors import SingerVerifyError

BEST, LAST, SAVED_MODEL = Path("checkpoints/best.ckpt"), Path("checkpoints/last.ckpt"), Path("saved_model.pt")
WANTED = "give a run folder, a .ckpt or a saved_model.pt of singer_verify"
# What reading a damaged file can end in.
DAMAGE = (
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
EARLIER_NAMES = {
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
        raise SingerVerifyError(f"{path}: no such file; {WANTED}.")
    try:
        _check_entries(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        raise SingerVerifyError(
            f"{path}: is damaged, or holds more than plain tensors and values, and was not loaded; {WANTED}."
        ) from error
    card = checkpoint.get(CARD_KEY) if isinstance(checkpoint, dict) else None
    if not isinstance(card, dict):
        raise SingerVerifyError(f"{path}: is not a checkpoint of singer_verify (it carries no recipe); {WANTED}.")
    if card.get("version") != CARD_VERSION:
        raise SingerVerifyError(
            f"{path}: has format {card.get('version')}; this version reads {CARD_VERSION}; {WANTED}."
        )
    assert isinstance(checkpoint, dict)
    return checkpoint


def _check_entries(path: Path) -> None:
    """Compare every entry of the file with its checksum, which torch does for some of them only."""
    with zipfile.ZipFile(path) as entries:
        if (damaged := entries.testzip()) is not None:
            raise zipfile.BadZipFile(f"{damaged} does not agree with its checksum")


def checkpoint_of(model: Path) -> Path:
    """The checkpoint meant by a run folder (its best) or by a path to a checkpoint.

    Raises:
        SingerVerifyError: the folder has no best checkpoint.
    """
    if not model.is_dir():
        return model
    if not (model / BEST).is_file():
        raise SingerVerifyError(f"{model}: has no {BEST}, so it is not the folder of a run; {WANTED}.")
    return model / BEST


def encoder_state(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The encoder's weights in a Lightning checkpoint or in a `saved_model.pt`, under the encoder's own names."""
    if "model_state" in checkpoint:
        others = EARLIER_NAMES.values()
        return {name: tensor for name, tensor in checkpoint["model_state"].items() if name not in others}
    prefix = "encoder."
    state = checkpoint.get("state_dict", {}).items()
    return {name.removeprefix(prefix): tensor for name, tensor in state if name.startswith(prefix)}


def loss_state(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The loss's parameters in a Lightning checkpoint or in a `saved_model.pt`, under the loss's own names."""
    prefix = "loss."
    state = checkpoint.get("state_dict", {})
    if "model_state" in checkpoint:
        state = under_our_names(checkpoint["model_state"])
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def under_our_names(model_state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The losses' parameters in the `model_state` of earlier singer encoders, as a Lightning checkpoint names them."""
    tensors = {name: model_state[earlier] for name, earlier in EARLIER_NAMES.items() if earlier in model_state}
    return {name: tensor.reshape(()) if "ge2e" in name else tensor for name, tensor in tensors.items()}
