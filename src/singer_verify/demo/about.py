"""What the page says about its model, in words that need no training in statistics."""

import json
from pathlib import Path
from typing import Any

from singer_verify.demo.page import MAX_CLIP_AGE_S
from singer_verify.demo.words import render_panel
from singer_verify.evaluation.metrics.bootstrap import MIN_RELIABLE_SINGERS
from singer_verify.features.recipe import build_feature
from singer_verify.inference import Model
from singer_verify.runs.checkpoints import BEST_CHECKPOINT, SAVED_MODEL
from singer_verify.runs.folder import find_run_folder
from singer_verify.runs.tree import read_run_metrics

LIMITS = (
    "It is no proof of identity. Do not use it to grant access, to accuse anybody, or on people who have not agreed.",
    "It is wrong more often with accompaniment, choirs, effects and clips of a second or two, and with voices, "
    "languages, rooms and microphones unlike those it was trained on.",
    "A score close to the threshold says little; compare more clips of the same voices.",
)
PRIVACY = (
    f"They are sent to the program that serves this page, and nowhere else. It keeps a clip for at most "
    f"{MAX_CLIP_AGE_S // 60} minutes, does not train on it, and deletes everything when it ends."
)


def render_about(model: Model) -> str:
    """Render what the model is, what it cannot do, and what happens to clips, as HTML."""
    return render_panel("about", model=describe_model(model), limits=LIMITS, privacy=PRIVACY)


def describe_model(model: Model) -> str:
    """Describe the input of a model, its training, and its error rate where that is known."""
    assert model.checkpoint is not None
    metadata = model.checkpoint.metadata
    num_singers = len(metadata.train_singers)
    trained = f"It was trained on {num_singers} singers." if num_singers else "Its training singers are not recorded."
    return (
        f"{describe_recipe(metadata.recipe)} {trained} {describe_error_rate(_read_run_metrics(model.checkpoint.path))}"
    )


def describe_recipe(recipe: dict[str, Any]) -> str:
    """Describe a recipe, for instance "It takes MelSpectrogram frames: 80 bins every 10 ms, up to 7600 Hz"."""
    feature = build_feature(recipe)
    normalised = str(recipe.get("normalise", "none"))
    return (
        f"It takes {str(recipe['_target_']).rpartition('.')[2]} frames: {feature.num_bins} bins every "
        f"{feature.hop_ms:g} ms, up to {feature.bandwidth_hz:g} Hz"
        f"{'' if normalised == 'none' else f', normalised ({normalised})'}."
    )


def describe_error_rate(metrics: dict[str, Any] | None) -> str:
    """Describe the best validation EER of a training."""
    best = (metrics or {}).get("best") or {}
    if "val/eer" not in best:
        return "Its error rate is not recorded."
    assert metrics is not None
    num_singers, percent = metrics["num_val_singers"], 100 * best["val/eer"]
    few = (
        " With so few singers, expect this to vary by several percentage points."
        if num_singers < MIN_RELIABLE_SINGERS
        else ""
    )
    return (
        f"Tested on {num_singers} singers who were not in its training, it took {percent:.1f} % of the pairs of "
        f"different singers for the same singer, and as many pairs of the same singer for different ones "
        f"(equal error rate).{few}"
    )


def _read_run_metrics(checkpoint: Path) -> dict[str, Any] | None:
    """Read the metrics of the run whose best model this is; return None where there are none or they are damaged."""
    if checkpoint.name not in (BEST_CHECKPOINT.name, SAVED_MODEL.name):
        return None
    if (run := find_run_folder(checkpoint)) is None:
        return None
    try:
        found = read_run_metrics(run)
    except (OSError, json.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None
