"""A scoring as a file, which knows the model that it was fitted for."""

import json
from dataclasses import asdict
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.calibration import Calibration
from singer_verify.evaluation.cohort import Cohort
from singer_verify.evaluation.overlap import MetSingers
from singer_verify.evaluation.projection import Projection
from singer_verify.evaluation.scoring import Scoring, SeveralRecordings, Threshold
from singer_verify.plain_arrays import DAMAGE, read_npz
from singer_verify.whole_files import part_of

VERSION = 1
FITTED_PARTS = ("threshold_singers", "calibration_singers", "cohort_singers")  # of `Scoring`: absent in older files
KIND = "scoring of singer_verify"
WANTED = "give a file that singer-verify calibrate wrote"


class OtherModelError(SingerVerifyError):
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
    header: dict[str, Any] = {"kind": KIND, "version": VERSION, "fingerprint": fingerprint}
    if scoring.projection is not None:
        arrays |= {"projection_mean": scoring.projection.mean, "projection_matrix": scoring.projection.matrix}
    if scoring.cohort is not None:
        arrays["cohort_rows"] = scoring.cohort.rows
        header["num_nearest"] = scoring.cohort.num_nearest
    if scoring.calibration is not None:
        header["calibration"] = asdict(scoring.calibration)
    if scoring.threshold is not None:
        header["threshold"] = asdict(scoring.threshold)
    for name in FITTED_PARTS:
        if (known := getattr(scoring, name)) is not None:
            header[name] = sorted(known.names)
            arrays[name] = np.array(sorted(known.recordings), np.int64)
    if scoring.several:
        header["several"] = [asdict(each) for each in scoring.several]
    header["arrays"] = sorted(arrays)
    with part_of(path) as part, open(part, "wb") as file:
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
        raise SingerVerifyError(f"{path}: no such file; {WANTED}.")
    header, arrays = _content(path)
    if header.get("kind") != KIND:
        raise SingerVerifyError(f"{path}: is not a scoring of singer_verify; {WANTED}.")
    if header.get("version") != VERSION:
        raise SingerVerifyError(
            f"{path}: has format {header.get('version')}; this version reads {VERSION}; calibrate the model again."
        )
    if header.get("fingerprint") != fingerprint:
        raise OtherModelError(
            f"{path}: was fitted for another model (its embeddings mean something else); {WANTED} for this one."
        )
    try:
        # The archive's own list of entries is under no checksum. Files of earlier versions do not tell.
        if set(arrays) != set(header.get("arrays", arrays)):
            raise ValueError(sorted(arrays))
        return _scoring(header, arrays)
    except (*DAMAGE, SingerVerifyError) as error:
        raise _damaged(path) from error


def _content(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        arrays = read_npz(path)
        header = json.loads(str(arrays.pop("header")))
        return dict(header), arrays
    except KeyError as error:
        raise SingerVerifyError(f"{path}: is not a scoring of singer_verify; {WANTED}.") from error
    except DAMAGE as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> SingerVerifyError:
    return SingerVerifyError(f"{path}: is damaged, or no scoring of singer_verify, and was not loaded; {WANTED}.")


def _scoring(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Scoring:
    projection = cohort = None
    if "projection_matrix" in arrays:
        projection = Projection(_finite(arrays["projection_mean"], 1), _finite(arrays["projection_matrix"], 2))
    if "cohort_rows" in arrays:
        num_nearest = header["num_nearest"]
        cohort = Cohort(_finite(arrays["cohort_rows"], 2), None if num_nearest is None else index(num_nearest))
    calibration = _calibration(header["calibration"]) if "calibration" in header else None
    threshold = _threshold(header["threshold"]) if "threshold" in header else None
    several = tuple(
        SeveralRecordings(
            index(each["num_recordings"]), _calibration(each["calibration"]), _threshold(each["threshold"])
        )
        for each in header.get("several", ())  # which earlier files lack
    )
    fitted_to = {name: _known(header[name], arrays[name]) for name in FITTED_PARTS if name in header}
    scoring = Scoring(projection, cohort, calibration, threshold, several=several, **fitted_to)
    if projection is not None:
        scoring.sides(np.zeros((1, len(projection.mean)), np.float32))  # whether all shapes agree
    return scoring


def _known(names: list[str], recordings: np.ndarray) -> MetSingers:
    if not all(isinstance(name, str) for name in names) or recordings.ndim != 1 or recordings.dtype != np.int64:
        raise ValueError(f"{recordings.dtype} of shape {recordings.shape}")
    return MetSingers.of(names, recordings.tolist())


def _calibration(stored: Any) -> Calibration:
    calibration = Calibration(_number(stored["slope"]), _number(stored["offset"]), str(stored["origin"]))
    if calibration.slope <= 0.0:
        raise ValueError(calibration.slope)
    return calibration


def _threshold(stored: Any) -> Threshold:
    return Threshold(_number(stored["score"]), str(stored["origin"]))


def _finite(array: np.ndarray, num_axes: int) -> np.ndarray:
    if array.ndim != num_axes or array.dtype.kind != "f" or not np.isfinite(array).all():
        raise ValueError(f"{array.dtype} of shape {array.shape}")
    return array


def _number(value: Any) -> float:
    if not np.isfinite(value):
        raise ValueError(value)
    return float(value)
