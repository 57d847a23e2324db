"""Weights between those of a fine-tuned model and those it began with."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from singer_verify.errors import SingerVerifyError, require_between
from singer_verify.features.normalisation import STATISTICS_KEY
from singer_verify.features.recipe import canonical_recipe
from singer_verify.runs.checkpoints import Checkpoint, extract_encoder_state
from singer_verify.runs.folder import RUN_FILENAME, find_run_folder
from singer_verify.runs.model_metadata import NON_ARCHITECTURE_SETTINGS
from singer_verify.runs.provenance import compute_file_sha256
from singer_verify.runs.settings import find_setting_differences, format_setting_differences

INTERPOLATION_KEY = "singer_verify_interpolation"  # in a checkpoint: between which weights its own lie


def find_start(model: Path) -> Path:
    """Return the checkpoint whose weights a run began with.

    Args:
        model: folder of the run, or a checkpoint in it.

    Raises:
        SingerVerifyError: it did not begin with another run's weights, or these are gone or changed.
    """
    run = find_run_folder(model)
    try:
        parent = None if run is None else json.loads((run / RUN_FILENAME).read_text(encoding="utf-8")).get("parent")
    except (OSError, ValueError, AttributeError) as error:
        raise SingerVerifyError(f"{run}: its {RUN_FILENAME} cannot be read; name the start with --start.") from error
    if run is None or not isinstance(parent, dict):
        raise SingerVerifyError(
            f"{model}: did not begin with the weights of another run (init_from); name the start with --start."
        )
    start = run / str(parent.get("checkpoint"))
    if not start.is_file():
        raise SingerVerifyError(f"{start}: {model} began with its weights, but there is no such file; name --start.")
    if compute_file_sha256(start) != parent.get("sha256"):
        raise SingerVerifyError(
            f"{start}: has changed since {model} began with its weights; name the start with --start."
        )
    return start


def interpolate_checkpoints(tuned: Checkpoint, start: Checkpoint, towards_start: float) -> dict[str, Any]:
    """Return a checkpoint whose encoder is (1 - towards_start) × tuned + towards_start × start.

    Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT), section 3: a model on this line often
    keeps what the start knew of other data and most of what fine-tuning learned. Running statistics are interpolated
    too; counters and the parameters of the loss are those of the tuned model. The threshold of its validation, which
    was of other weights, is left out.

    Args:
        tuned: the fine-tuned model.
        start: the model it began with.
        towards_start: 0 is the tuned model, 1 the start.

    Raises:
        SingerVerifyError: the two have different recipes or encoders, or the share is out of range.
    """
    require_between(0.0, 1.0, towards_start=towards_start)
    _require_same_architecture(tuned, start)
    tuned_state, start_state = extract_encoder_state(tuned.content), extract_encoder_state(start.content)
    if {name: tensor.shape for name, tensor in tuned_state.items()} != {
        name: tensor.shape for name, tensor in start_state.items()
    }:
        raise SingerVerifyError(f"{start.path}: its weights do not have the shapes of those of {tuned.path}.")
    state = {name: _interpolate(tensor, start_state[name], towards_start) for name, tensor in tuned_state.items()}
    inherited = tuned.metadata.with_pretraining(start.metadata)
    metadata = replace(
        tuned.metadata,
        pretraining_singers=tuple(sorted({*tuned.metadata.pretraining_singers, *inherited.pretraining_singers})),
        pretraining_recordings=torch.unique(
            torch.cat([tuned.metadata.pretraining_recordings, inherited.pretraining_recordings])
        ),
    )
    origin = {"towards_start": float(towards_start), "tuned": tuned.fingerprint, "start": start.fingerprint}
    return tuned.replace_encoder(state, metadata, tuned.settings) | {INTERPOLATION_KEY: origin}


def _interpolate(tuned: Tensor, start: Tensor, towards_start: float) -> Tensor:
    return torch.lerp(tuned, start, towards_start) if tuned.is_floating_point() else tuned  # exact at both ends


def _require_same_architecture(tuned: Checkpoint, start: Checkpoint) -> None:
    before, after = (
        {"features": canonical_recipe(model.metadata.recipe), "encoder": model.metadata.encoder}
        for model in (start, tuned)
    )
    but = tuple(f"encoder.{name}" for name in NON_ARCHITECTURE_SETTINGS)
    differing = find_setting_differences(before, after, but)
    if not differing and start.metadata.recipe.get(STATISTICS_KEY) != tuned.metadata.recipe.get(STATISTICS_KEY):
        differing = {f"features.{STATISTICS_KEY}": ("of one corpus", "of another")}
    if differing:
        raise SingerVerifyError(
            f"{start.path}: is another architecture than {tuned.path}: {format_setting_differences(differing)}; "
            f"expected the model that it began with."
        )
