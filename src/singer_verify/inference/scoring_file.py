"""A scoring as a file, which knows the model that it was fitted for."""

import json
import logging
from dataclasses import asdict, replace
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from singer_verify.atomic_files import atomic_write
from singer_verify.errors import SingerVerifyError, require_finite
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.normalisation import Cohort
from singer_verify.evaluation.scoring.projection import Projection
from singer_verify.evaluation.scoring.scoring import COSINE, USER_DEFINED, MultiEnrolmentCalibration, Scoring, Threshold
from singer_verify.evaluation.seen_singers import SeenSingers
from singer_verify.npz import ARRAY_READ_ERRORS, read_npz
from singer_verify.runs.checkpoints import (
    compute_fingerprint,
    find_checkpoint,
    read_checkpoint,
    read_validation_threshold,
)
from singer_verify.runs.folder import find_run_folder
from singer_verify.runs.model_metadata import METADATA_KEY, collect_validation_singers

SCORING_FORMAT_VERSION = 1
FITTED_SINGER_FIELDS = (
    "threshold_singers",
    "calibration_singers",
    "cohort_singers",
)  # of `Scoring`: absent in older files
SCORING_KIND = "scoring of singer_verify"
EXPECTED_SCORING_FILE = "give a file that singer-verify calibrate wrote"


class ScoringModelMismatchError(SingerVerifyError):
    """The file was fitted for another model than the one at hand."""


def save_scoring(path: Path, scoring: Scoring, fingerprint: str) -> None:
    """Write a scoring as an `.npz`, whole or not at all.

    Args:
        path: of the file.
        scoring: all of it is kept.
        fingerprint: of the model whose embeddings it is for, see `runs.fingerprint`.

    Raises:
        SingerVerifyError: the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    header: dict[str, Any] = {"kind": SCORING_KIND, "version": SCORING_FORMAT_VERSION, "fingerprint": fingerprint}
    if scoring.projection is not None:
        arrays |= {"projection_mean": scoring.projection.mean, "projection_matrix": scoring.projection.matrix}
    if scoring.cohort is not None:
        arrays["cohort_rows"] = scoring.cohort.embeddings
        header["num_nearest"] = scoring.cohort.num_nearest
    if scoring.calibration is not None:
        header["calibration"] = asdict(scoring.calibration)
    if scoring.threshold is not None:
        header["threshold"] = asdict(scoring.threshold)
    for name in FITTED_SINGER_FIELDS:
        if (known := getattr(scoring, name)) is not None:
            header[name] = sorted(known.names)
            arrays[name] = np.array(sorted(known.recordings), np.int64)
    if scoring.multi_enrolment:
        header["several"] = [asdict(each) for each in scoring.multi_enrolment]
    header["arrays"] = sorted(arrays)
    with atomic_write(path) as part, open(part, "wb") as file:
        np.savez(file, header=np.array(json.dumps(header)), **arrays)  # type: ignore[arg-type]


def load_scoring(path: Path, fingerprint: str) -> Scoring:
    """Read a scoring; nothing in the file is executed.

    Args:
        path: of the file.
        fingerprint: of the model whose embeddings are to be scored.

    Raises:
        OtherModelError: it was fitted for another model.
        SingerVerifyError: no such file, not a scoring, of another version, or damaged.
    """
    if not path.is_file():
        raise SingerVerifyError(f"{path}: no such file; {EXPECTED_SCORING_FILE}.")
    header, arrays = _read_scoring_arrays(path)
    if header.get("kind") != SCORING_KIND:
        raise SingerVerifyError(f"{path}: is not a scoring of singer_verify; {EXPECTED_SCORING_FILE}.")
    if header.get("version") != SCORING_FORMAT_VERSION:
        raise SingerVerifyError(
            f"{path}: has format {header.get('version')}; this version reads {SCORING_FORMAT_VERSION}; calibrate the model again."
        )
    if header.get("fingerprint") != fingerprint:
        raise ScoringModelMismatchError(
            f"{path}: was fitted for another model (its embeddings mean something else); {EXPECTED_SCORING_FILE} for this one."
        )
    try:
        # The archive's own list of entries is under no checksum. Files of earlier versions do not tell.
        if set(arrays) != set(header.get("arrays", arrays)):
            raise ValueError(sorted(arrays))
        return _parse_scoring(header, arrays)
    except (*ARRAY_READ_ERRORS, SingerVerifyError) as error:
        raise _build_damage_error(path) from error


def _read_scoring_arrays(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        arrays = read_npz(path)
        header = json.loads(str(arrays.pop("header")))
        return dict(header), arrays
    except KeyError as error:
        raise SingerVerifyError(f"{path}: is not a scoring of singer_verify; {EXPECTED_SCORING_FILE}.") from error
    except ARRAY_READ_ERRORS as error:
        raise _build_damage_error(path) from error


def _build_damage_error(path: Path) -> SingerVerifyError:
    return SingerVerifyError(
        f"{path}: is damaged, or no scoring of singer_verify, and was not loaded; {EXPECTED_SCORING_FILE}."
    )


def _parse_scoring(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Scoring:
    projection = cohort = None
    if "projection_matrix" in arrays:
        projection = Projection(
            _require_finite_array(arrays["projection_mean"], 1), _require_finite_array(arrays["projection_matrix"], 2)
        )
    if "cohort_rows" in arrays:
        num_nearest = header["num_nearest"]
        cohort = Cohort(
            _require_finite_array(arrays["cohort_rows"], 2), None if num_nearest is None else index(num_nearest)
        )
    calibration = _parse_calibration(header["calibration"]) if "calibration" in header else None
    threshold = _parse_threshold(header["threshold"]) if "threshold" in header else None
    several = tuple(
        MultiEnrolmentCalibration(
            index(each["num_recordings"]), _parse_calibration(each["calibration"]), _parse_threshold(each["threshold"])
        )
        for each in header.get("several", ())  # which earlier files lack
    )
    fitted_to = {
        name: _parse_seen_singers(header[name], arrays[name]) for name in FITTED_SINGER_FIELDS if name in header
    }
    scoring = Scoring(projection, cohort, calibration, threshold, multi_enrolment=several, **fitted_to)
    if projection is not None:
        scoring.prepare_embeddings(np.zeros((1, len(projection.mean)), np.float32))  # whether all shapes agree
    return scoring


def _parse_seen_singers(names: list[str], recordings: np.ndarray) -> SeenSingers:
    if not all(isinstance(name, str) for name in names) or recordings.ndim != 1 or recordings.dtype != np.int64:
        raise ValueError(f"{recordings.dtype} of shape {recordings.shape}")
    return SeenSingers.from_names(names, recordings.tolist())


def _parse_calibration(stored: Any) -> Calibration:
    calibration = Calibration(
        _parse_finite_number(stored["slope"]), _parse_finite_number(stored["offset"]), str(stored["origin"])
    )
    if calibration.slope <= 0.0:
        raise ValueError(calibration.slope)
    return calibration


def _parse_threshold(stored: Any) -> Threshold:
    return Threshold(_parse_finite_number(stored["score"]), str(stored["origin"]))


def _require_finite_array(array: np.ndarray, num_axes: int) -> np.ndarray:
    if array.ndim != num_axes or array.dtype.kind != "f" or not np.isfinite(array).all():
        raise ValueError(f"{array.dtype} of shape {array.shape}")
    return array


def _parse_finite_number(value: Any) -> float:
    if not np.isfinite(value):
        raise ValueError(value)
    return float(value)


log = logging.getLogger(__name__)

SCORING_FILE_NAME = "scoring.npz"


def load_model_scoring(model: str | Path, scoring: Path | None = None, threshold: float | None = None) -> Scoring:
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
    checkpoint = read_checkpoint(find_checkpoint(model))
    found = _load_fitted_scoring(model, scoring, compute_fingerprint(checkpoint))
    if found is None:
        own = _get_validation_threshold(checkpoint)
        known = None if own is None else collect_validation_singers(checkpoint[METADATA_KEY])
        found = replace(COSINE, threshold=own, threshold_singers=known)
    if threshold is None:
        return found
    require_finite(threshold=threshold)
    return replace(found.with_threshold(Threshold(float(threshold), USER_DEFINED)), threshold_singers=None)


def find_scoring_path(model: Path) -> Path | None:
    """Where the scoring of a model lies, if there is one: in the folder of its run; None for a file in no run."""
    run = find_run_folder(model)
    return None if run is None else run / SCORING_FILE_NAME


def _load_fitted_scoring(model: Path, given: Path | None, model_fingerprint: str) -> Scoring | None:
    """The scoring that was given, or the one of the run, or None."""
    if given is not None:
        return load_scoring(given, model_fingerprint)
    path = find_scoring_path(model)
    if path is None or not path.is_file():
        return None
    try:
        return load_scoring(path, model_fingerprint)
    except ScoringModelMismatchError as error:
        if model.is_dir():
            raise SingerVerifyError(
                f"{path}: was fitted for another model than the run's best; calibrate it again, or delete that file."
            ) from error
        log.warning("%s is for another checkpoint than %s, which is scored by plain cosine.", path, model)
        return None


def _get_validation_threshold(checkpoint: dict[str, Any]) -> Threshold | None:
    found = read_validation_threshold(checkpoint)
    if found is None:
        return None
    score, num_singers = found
    return Threshold(score, f"equal error rate on the {num_singers} validation singers of its training")
