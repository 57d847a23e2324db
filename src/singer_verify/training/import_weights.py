"""Import of weights that other programs trained into a run folder."""

import importlib.metadata
import logging
from pathlib import Path
from typing import Any

import torch
import yaml

from singer_verify.audio.activity import DEFAULT_ACTIVITY_DB
from singer_verify.errors import SingerVerifyError
from singer_verify.export.seed_format import export_saved_model
from singer_verify.features.feature import Feature
from singer_verify.features.normalisation import NO_NORMALISATION, STATISTICS_KEY, Normalisation
from singer_verify.features.recipe import build_feature, canonical_recipe, get_feature_settings
from singer_verify.runs.checkpoints import DAMAGED_FILE_ERRORS, write_checkpoint
from singer_verify.runs.folder import BEST_CHECKPOINT, record_run, refuse_existing_run
from singer_verify.runs.model_metadata import METADATA_KEY, ModelMetadata
from singer_verify.runs.provenance import compute_file_sha256
from singer_verify.training.weight_layouts import LAYOUTS
from singer_verify.training.weight_layouts.layout import ExternalWeights
from singer_verify.training.weight_layouts.published import find_published_weights

log = logging.getLogger(__name__)

# Networks of other programs were trained on recordings with pauses. RAVDESS, the four singers of its split val, CAM++
# across sentences: 2.9 % EER with all of every pause, 3.2 with half a second of each, 5.3 with none.
IMPORTED_VOICE_SETTINGS: dict[str, Any] = {"activity_db": DEFAULT_ACTIVITY_DB, "pause_s": 0.5}
MAX_LISTED_NAMES = 8
SUPPORTED_LAYOUTS_HINT = f"expected {'; or '.join(layout.expected for layout in LAYOUTS)}"


def read_external_weights(path: Path) -> ExternalWeights:
    """Read weights in one of the supported layouts; nothing in the file is executed.

    Raises:
        SingerVerifyError: no such file, more than plain tensors in it, another layout, or a checkpoint of
            singer_verify.
    """
    content = _load_external_file(path)
    if METADATA_KEY in content:
        raise SingerVerifyError(f"{path}: is a checkpoint of singer_verify; use it as it is.")
    for layout in LAYOUTS:
        if layout.recognises(content):
            try:
                return layout.read(content)
            except SingerVerifyError as error:
                raise SingerVerifyError(f"{path}: {error}; {SUPPORTED_LAYOUTS_HINT}.") from error
    names = [str(name) for name in content]
    listed = ", ".join(names[:MAX_LISTED_NAMES]) + (", ..." if len(names) > MAX_LISTED_NAMES else "")
    raise SingerVerifyError(f"{path}: holds {listed or 'nothing'}; {SUPPORTED_LAYOUTS_HINT}.")


def import_weights_as_run(
    path: Path,
    feature: Feature | None,
    window_frames: int | None,
    run: Path,
    normalisation: Normalisation = NO_NORMALISATION,
) -> None:
    """Create a run folder from weights trained elsewhere, to evaluate, embed with or fine-tune.

    Args:
        path: file of the weights.
        feature: feature that computes the frames they were trained on; None takes it, and the normalisation, from the
            layout of the weights.
        window_frames: length of an evaluation window; None takes that of the layout.
        run: folder to create.
        normalisation: normalisation of those frames.

    Raises:
        SingerVerifyError: the folder holds a run, the weights cannot be read, they expect other frames, or it is not
            known which.
    """
    refuse_existing_run(run)
    weights = read_external_weights(path)
    if feature is None:
        if weights.recipe is None:
            raise SingerVerifyError(
                f"{path}: does not say which frames it was trained on; name the recipe: --features with a name in "
                f"conf/features, or the path of such a yaml."
            )
        recipe = IMPORTED_VOICE_SETTINGS | weights.recipe
        feature, normalisation = build_feature(recipe), Normalisation.from_recipe(recipe)
    _require_own_recipe(path, weights, feature, normalisation)
    window_frames = weights.window_frames if window_frames is None else window_frames
    recipe = canonical_recipe(feature.recipe | {"normalise": normalisation.name})
    card = ModelMetadata(recipe | normalisation.statistics, weights.encoder, window_frames, ())
    config = {"features": recipe, "encoder": weights.encoder, "data": {"num_frames": window_frames}}
    imported = {
        "file": path.name,
        "sha256": compute_file_sha256(path),
        "step": weights.step,
        "dropped": weights.dropped,
    }
    if (published := find_published_weights(str(imported["sha256"]))) is not None:
        imported |= {"origin": f"{published.name} of {published.origin}", "licence": published.licence}
    write_checkpoint(_build_lightning_checkpoint(weights) | {METADATA_KEY: card.to_dict()}, run / BEST_CHECKPOINT)
    export_saved_model(run)
    record_run(run, yaml.safe_dump(config, sort_keys=False), [], imported=imported)
    if weights.dropped:
        log.info("%s: not imported: %s.", path, ", ".join(weights.dropped))


def _require_own_recipe(path: Path, weights: ExternalWeights, feature: Feature, normalisation: Normalisation) -> None:
    """Refuse frames other than those that the weights were trained on, as far as that is known."""
    if weights.recipe is not None:
        given = get_feature_settings(feature.recipe) | {"normalise": normalisation.name}
        own = get_feature_settings(weights.recipe) | {"normalise": weights.recipe["normalise"]}
        differing = [
            f"{name}={given.get(name)} instead of {own.get(name)}"
            for name in own | given
            if own.get(name) != given.get(name)
        ]
        if differing:
            raise SingerVerifyError(
                f"{path}: was trained on other frames: {', '.join(differing)}; leave --features out to take its own."
            )
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
