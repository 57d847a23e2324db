"""A model as one small file: what embedding needs, without the state of its training or the paths of its machine."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from singer_verify.errors import SingerVerifyError
from singer_verify.export.onnx_check import compute_check_frames, synthesise_voice
from singer_verify.inference.model import Model, load_model
from singer_verify.inference.scoring_file import SCORING_SUFFIX, find_scoring_path, load_scoring, save_scoring
from singer_verify.runs.checkpoints import (
    HALF_WEIGHTS_KEY,
    VALIDATION_KEY,
    Checkpoint,
    extract_encoder_state,
    write_checkpoint,
)
from singer_verify.runs.interpolation import INTERPOLATION_KEY
from singer_verify.runs.model_metadata import METADATA_KEY
from singer_verify.runs.settings import SETTINGS_KEY, strip_folders

HALF, SINGLE = "float16", "float32"
KEPT_KEYS = ("epoch", VALIDATION_KEY, INTERPOLATION_KEY)
CHECK_S, NUM_CHECK_VOICES = 4.0, 4
HALF_TOLERANCE = 1e-3  # largest deviation of any component of an embedding
MIN_HALF_VALUES = 1024  # smaller tensors, such as running statistics, stay in single precision


@dataclass(frozen=True)
class WrittenModel:
    """What was written.

    Attributes:
        files: the model, and its scoring if it has one.
        num_bytes: size of the model.
        dtype: data type of the large tensors, float16 or float32.
        deviation: largest deviation of any component of an embedding from the model's own.
    """

    files: tuple[Path, ...]
    num_bytes: int
    dtype: str
    deviation: float


def write_model_file(model_path: Path, out: Path, dtype: str | None = None) -> WrittenModel:
    """Write a model, and the scoring of its run beside it, such that the two need nothing else.

    The file holds the encoder's weights, the recipe, the singers that the model has seen, the threshold of its
    validation, and the settings of its training without the folders in them.

    Args:
        model_path: a run folder or a model file.
        out: the file to write, `name.pt`; the scoring becomes `name.scoring.npz`.
        dtype: data type of the large tensors, float16 or float32; None for float16 where that changes no component of
            an embedding by more than `HALF_TOLERANCE`.

    Raises:
        SingerVerifyError: not a model, one that float16 would change although it is asked for, or one whose recipe,
            encoder or singers name absolute paths.
    """
    model, checkpoint = load_model(model_path, "cpu"), Checkpoint.read(model_path)
    content = build_model_content(checkpoint)
    deviation = 0.0
    if dtype != SINGLE:
        narrowed = {name: _narrow(tensor) for name, tensor in content["state_dict"].items()}
        deviation = _measure_deviation(model, narrowed)
        if deviation <= HALF_TOLERANCE:
            content |= {"state_dict": narrowed, HALF_WEIGHTS_KEY: True}
        elif dtype == HALF:
            raise SingerVerifyError(
                f"{model_path}: float16 changes its embeddings by {deviation:.1e}, more than {HALF_TOLERANCE:.0e}; "
                f"write it as float32."
            )
    is_half = HALF_WEIGHTS_KEY in content
    write_checkpoint(content, out)
    written, scoring_path = [out], out.with_suffix(SCORING_SUFFIX)
    fitted_path = find_scoring_path(model_path) or model_path.with_suffix(SCORING_SUFFIX)
    if fitted_path.is_file():
        save_scoring(scoring_path, load_scoring(fitted_path, checkpoint.fingerprint), Checkpoint.read(out).fingerprint)
        written.append(scoring_path)
    return WrittenModel(tuple(written), out.stat().st_size, HALF if is_half else SINGLE, deviation if is_half else 0.0)


def build_model_content(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what the file of a model holds: a checkpoint with the encoder's weights alone, in single precision.

    Raises:
        SingerVerifyError: its recipe, encoder or singers name an absolute path.
    """
    metadata = checkpoint.metadata.to_dict()
    if paths := [text for text in _iterate_texts(metadata) if strip_folders(text) != text]:
        raise SingerVerifyError(
            f"{checkpoint.path}: names {paths[0]}, a path of this machine, in its recipe, encoder or singers; expected "
            f"a model that needs no other file."
        )
    return {
        "state_dict": {f"encoder.{name}": value for name, value in extract_encoder_state(checkpoint.content).items()},
        "global_step": checkpoint.step or 0,
        METADATA_KEY: metadata,
        SETTINGS_KEY: strip_folders(checkpoint.settings),
        **{name: checkpoint.content[name] for name in KEPT_KEYS if name in checkpoint.content},
    }


def _narrow(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.dtype == torch.float32 and tensor.numel() >= MIN_HALF_VALUES else tensor.clone()


def _measure_deviation(model: Model, state: dict[str, Tensor]) -> float:
    """Return the largest change of any component of an embedding with other weights, on synthetic voices."""
    encoder = copy.deepcopy(model.encoder)
    encoder.load_state_dict({name.removeprefix("encoder."): tensor.float() for name, tensor in state.items()})
    other = Model(encoder, model.feature, model.window_frames, model.normalisation)
    rate = model.feature.sample_rate
    voices = np.stack([synthesise_voice(round(CHECK_S * rate), rate, seed) for seed in range(NUM_CHECK_VOICES)])
    return max(
        float(np.abs(model.embed_frames(frames) - other.embed_frames(frames)).max())
        for frames in compute_check_frames(voices, model)
    )


def _iterate_texts(value: Any) -> Iterator[str]:
    """Iterate over the strings in nested values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _iterate_texts(name)
            yield from _iterate_texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _iterate_texts(inner)
