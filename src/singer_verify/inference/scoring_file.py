"""The scoring of a model: the file `singer-verify calibrate` writes, bound to the model it was fitted to."""

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
from singer_verify.evaluation.scoring.domains import DomainCentring
from singer_verify.evaluation.scoring.normalisation import Cohort
from singer_verify.evaluation.scoring.projection import Projection
from singer_verify.evaluation.scoring.scoring import (
    COSINE,
    ENROLMENT_SCORES,
    MEAN_ENROLMENT,
    USER_DEFINED,
    MultiEnrolmentCalibration,
    Scoring,
    Threshold,
)
from singer_verify.evaluation.seen_singers import SeenSingers
from singer_verify.inference.model import Model
from singer_verify.npz import ARRAY_READ_ERRORS, read_npz
from singer_verify.runs.folder import find_run_folder

# The recordings in version 1 are identified by their files, and left out. Version 3 has means of domains; a scoring
# without any is written as version 2, which earlier programs read. In version 4, singers known from several recordings
# are not scored by their mean.
READABLE_SCORING_VERSIONS = (1, 2, 3, 4)
BEST_ENROLMENT_VERSION, CENTRED_VERSION, UNCENTRED_VERSION = 4, 3, 2
FITTED_SINGER_FIELDS = (
    "threshold_singers",
    "calibration_singers",
    "cohort_singers",
)  # of `Scoring`: absent in older files
SCORING_KIND = "scoring of singer_verify"
EXPECTED_SCORING_FILE = "give a file that singer-verify calibrate wrote"
log = logging.getLogger(__name__)
SCORING_FILE_NAME = "scoring.npz"
SCORING_SUFFIX = ".scoring.npz"  # beside a model file outside a run, after its name without suffix
PLAIN_COSINE = "cosine"  # instead of a file


class ScoringModelMismatchError(SingerVerifyError):
    """The file was fitted to another model than the one at hand."""


def save_scoring(path: Path, scoring: Scoring, fingerprint: str) -> None:
    """Write a scoring as an `.npz`, whole or not at all.

    Args:
        path: path of the file.
        scoring: the scoring to write.
        fingerprint: fingerprint of the model whose embeddings it is for, see `runs.checkpoints.compute_fingerprint`.

    Raises:
        SingerVerifyError: the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    header: dict[str, Any] = {"kind": SCORING_KIND, "version": UNCENTRED_VERSION, "fingerprint": fingerprint}
    if scoring.centring is not None:
        header |= {"version": CENTRED_VERSION, "label": scoring.centring.label, "domains": list(scoring.centring.means)}
        arrays["domain_means"] = np.stack(list(scoring.centring.means.values()))
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
        if (seen_singers := getattr(scoring, name)) is not None:
            header[name] = sorted(seen_singers.names)
            arrays[name] = np.array(sorted(seen_singers.recordings), np.int64)
    if scoring.enrolment_score != MEAN_ENROLMENT:
        header |= {"version": BEST_ENROLMENT_VERSION, "enrolment_score": scoring.enrolment_score}
    if scoring.multi_enrolment:
        header["several"] = [asdict(enrolment) for enrolment in scoring.multi_enrolment]
    header["arrays"] = sorted(arrays)
    with atomic_write(path) as part, open(part, "wb") as file:
        np.savez(file, header=np.array(json.dumps(header)), **arrays)  # type: ignore[arg-type]


def load_scoring(path: Path, fingerprint: str) -> Scoring:
    """Read a scoring; nothing in the file is executed.

    Args:
        path: path of the file.
        fingerprint: fingerprint of the model whose embeddings are to be scored.

    Raises:
        ScoringModelMismatchError: it was fitted to another model.
        SingerVerifyError: no such file, not a scoring, of another version, or damaged.
    """
    if not path.is_file():
        raise SingerVerifyError(f"{path}: no such file; {EXPECTED_SCORING_FILE}, or {PLAIN_COSINE}.")
    header, arrays = _read_scoring_arrays(path)
    if header.get("kind") != SCORING_KIND:
        raise SingerVerifyError(f"{path}: is not a scoring of singer_verify; {EXPECTED_SCORING_FILE}.")
    if header.get("version") not in READABLE_SCORING_VERSIONS:
        raise SingerVerifyError(
            f"{path}: has format {header.get('version')}; this version reads "
            f"{' and '.join(map(str, READABLE_SCORING_VERSIONS))}; calibrate the model again."
        )
    if header.get("fingerprint") != fingerprint:
        raise ScoringModelMismatchError(
            f"{path}: was fitted to the embeddings of another model; {EXPECTED_SCORING_FILE} for this one."
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
    projection = cohort = centring = None
    if "domain_means" in arrays:
        means = _require_finite_array(arrays["domain_means"], 2)
        if not isinstance(header["label"], str) or not all(isinstance(domain, str) for domain in header["domains"]):
            raise ValueError(header["label"], header["domains"])
        centring = DomainCentring(header["label"], dict(zip(header["domains"], means, strict=True)))
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
            index(enrolment["num_recordings"]),
            _parse_calibration(enrolment["calibration"]),
            _parse_threshold(enrolment["threshold"]),
        )
        for enrolment in header.get("several", ())  # absent in earlier files
    )
    fitted_to: dict[str, Any] = {
        name: _parse_seen_singers(header[name], arrays[name]) for name in FITTED_SINGER_FIELDS if name in header
    }
    if header["version"] == READABLE_SCORING_VERSIONS[0]:
        fitted_to = {name: replace(seen, recordings=frozenset()) for name, seen in fitted_to.items()}
    scoring = Scoring(
        projection, cohort, calibration, threshold, multi_enrolment=several, **fitted_to, centring=centring
    )
    if (enrolment_score := header.get("enrolment_score", MEAN_ENROLMENT)) not in ENROLMENT_SCORES:
        raise ValueError(enrolment_score)
    scoring = replace(scoring, enrolment_score=enrolment_score)
    if projection is not None or centring is not None:  # whether all shapes agree
        size = len(projection.mean) if projection is not None else means.shape[1]
        scoring.prepare_embeddings(np.zeros((1, size), np.float32), header.get("domains", [])[:1])
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


def load_model_scoring(
    model: Model,
    scoring: Path | None = None,
    threshold: float | None = None,
    domain: str | None = None,
    enrolment_score: str | None = None,
) -> Scoring:
    """Load how a model's embeddings are scored and decided on.

    Without a fitted scoring it is the cosine, with the threshold of the model's own validation where its checkpoint
    records one, and no calibration.

    Args:
        model: a model from `load_model`.
        scoring: a file written by `singer-verify calibrate`; None takes the one in the run folder, or beside a file
            outside a run (`model.scoring.npz` of `model.pt`), if there is one, and `cosine` the plain cosine although
            there is one.
        threshold: score threshold that replaces any other.
        domain: domain of all recordings, where the scoring centres by domain.
        enrolment_score: how singers known from several recordings are scored: mean, max or best3; None as fitted.

    Raises:
        SingerVerifyError: a scoring that cannot be read or was fitted to another model, a threshold that is not finite,
            or a domain that the scoring does not know. Where the model is a checkpoint other than the run's best, the
            scoring in the run folder, which belongs to the best, is left out with a warning instead.
    """
    is_plain = scoring is not None and str(scoring) == PLAIN_COSINE
    fitted = (None if is_plain else _load_fitted_scoring(model, scoring)) or _build_validation_scoring(model)
    if domain is not None:
        if fitted.centring is None:
            raise SingerVerifyError(
                f"domain={domain}: has no effect, because the scoring does not centre by domain; fit one that does "
                f"with singer-verify calibrate --centre-by LABEL."
            )
        fitted = replace(fitted, centring=fitted.centring.choose(domain))
    if enrolment_score is not None:
        fitted = fitted.with_enrolment_score(enrolment_score)
    if threshold is None:
        return fitted
    require_finite(threshold=threshold)
    return replace(fitted.with_threshold(Threshold(float(threshold), USER_DEFINED)), threshold_singers=None)


def find_scoring_path(model_path: Path) -> Path | None:
    """Return where the scoring of a model lies, if it has one: in its run folder; None for a file outside a run."""
    run = find_run_folder(model_path)
    return None if run is None else run / SCORING_FILE_NAME


def _load_fitted_scoring(model: Model, given: Path | None) -> Scoring | None:
    """Load the given scoring, or the run's; None where there is neither."""
    if given is not None:
        return load_scoring(given, model.fingerprint)
    if model.checkpoint is None:
        return None
    model_path = model.checkpoint.model_path
    path = find_scoring_path(model_path) or model_path.with_suffix(SCORING_SUFFIX)
    if not path.is_file():
        return None
    try:
        return load_scoring(path, model.fingerprint)
    except ScoringModelMismatchError as error:
        if model_path.is_dir():
            raise SingerVerifyError(
                f"{path}: was fitted to another model than the run's best; calibrate it again, or delete that file."
            ) from error
        log.warning("%s belongs to another checkpoint than %s, which is scored by plain cosine.", path, model_path)
        return None


def _build_validation_scoring(model: Model) -> Scoring:
    """Build the cosine with the threshold of the training's validation, where the checkpoint records it."""
    if model.checkpoint is None or (recorded := model.checkpoint.validation_threshold) is None:
        return COSINE
    score, num_singers = recorded
    threshold = Threshold(score, f"equal error rate on the {num_singers} validation singers of its training")
    return replace(
        COSINE, threshold=threshold, threshold_singers=model.checkpoint.metadata.collect_validation_singers()
    )
