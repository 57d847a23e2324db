"""The scoring that belongs to a model: what was fitted for it, and from where its threshold is."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from singer_verify.card import CARD_KEY
from singer_verify.errors import SingerVerifyError, require_finite
from singer_verify.evaluation.scoring import COSINE, GIVEN, Scoring, Threshold
from singer_verify.recognition.scoring_file import OtherModelError, load_scoring
from singer_verify.runs.checkpoints import checkpoint_of, read_checkpoint
from singer_verify.runs.fingerprint import fingerprint
from singer_verify.runs.folder import run_around
from singer_verify.runs.heard import validation_singers
from singer_verify.runs.validation_threshold import validation_threshold

log = logging.getLogger(__name__)

SCORING_NAME = "scoring.npz"


def scoring_of(model: str | Path, scoring: Path | None = None, threshold: float | None = None) -> Scoring:
    """How a model's embeddings are scored and decided on.

    Without a scoring that was fitted, it is the cosine, with the threshold of the model's own validation where the
    checkpoint tells it, and no calibration.

    Args:
        model: a run folder, a `.ckpt` or a `saved_model.pt`.
        scoring: a file that `singer-verify calibrate` wrote; None takes the one in the run's folder, if there is one.
        threshold: in place of any other.

    Raises:
        SingerVerifyError: not a model of ours, a scoring that cannot be read or was fitted for another model, or a
            threshold that is no number. Where a checkpoint was named that is not the run's best, the scoring in the
            run's folder, which is for the best, is left out instead, and a line says so.
    """
    model = Path(model)
    checkpoint = read_checkpoint(checkpoint_of(model))
    found = _fitted(model, scoring, fingerprint(checkpoint))
    if found is None:
        own = _threshold_of_training(checkpoint)
        known = None if own is None else validation_singers(checkpoint[CARD_KEY])
        found = replace(COSINE, threshold=own, threshold_singers=known)
    if threshold is None:
        return found
    require_finite(threshold=threshold)
    return replace(found.with_threshold(Threshold(float(threshold), GIVEN)), threshold_singers=None)


def scoring_path(model: Path) -> Path | None:
    """Where the scoring of a model lies, if there is one: in the folder of its run; None for a file in no run."""
    run = run_around(model)
    return None if run is None else run / SCORING_NAME


def _fitted(model: Path, given: Path | None, model_fingerprint: str) -> Scoring | None:
    """The scoring that was given, or the one of the run, or None."""
    if given is not None:
        return load_scoring(given, model_fingerprint)
    path = scoring_path(model)
    if path is None or not path.is_file():
        return None
    try:
        return load_scoring(path, model_fingerprint)
    except OtherModelError as error:
        if model.is_dir():
            raise SingerVerifyError(
                f"{path}: was fitted for another model than the run's best; calibrate it again, or delete that file."
            ) from error
        log.warning("%s is for another checkpoint than %s, which is scored by plain cosine.", path, model)
        return None


def _threshold_of_training(checkpoint: dict[str, Any]) -> Threshold | None:
    found = validation_threshold(checkpoint)
    if found is None:
        return None
    score, num_singers = found
    return Threshold(score, f"equal error rate on the {num_singers} validation singers of its training")
