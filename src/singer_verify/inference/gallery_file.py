"""The file of a gallery: enrolled recordings and labels of singers, bound to the model that embedded them."""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from singer_verify.atomic_files import atomic_write, lock_file, require_output_path
from singer_verify.corpora.names import normalise_name
from singer_verify.errors import SingerVerifyError
from singer_verify.inference.enrolment import EnrolledRecording, is_valid_name
from singer_verify.inference.gallery_store import STORE_SUFFIX, GalleryStore, is_store_path
from singer_verify.inference.model import Model
from singer_verify.npz import ARRAY_READ_ERRORS, read_npz

log = logging.getLogger(__name__)
# A gallery without labels is written as version 1, which earlier programs read.
UNLABELLED_VERSION, LABELLED_VERSION = READABLE_GALLERY_VERSIONS = 1, 2
STRING_ARRAYS = ("singers", "recordings", "contents")
GALLERY_ARRAYS = {"version", "fingerprint", *STRING_ARRAYS, "embeddings", "checksum"}
LABELS_ARRAY = "labels"  # JSON text
UNIT_NORM_TOLERANCE = 1e-3
SingerLabels = Mapping[str, Mapping[str, str]]  # by singer, then by label


class GalleryContent(NamedTuple):
    """What the file of a gallery holds.

    Attributes:
        fingerprint: fingerprint of the model.
        enrolled: enrolled recordings, in the order of enrolment.
        labels: labels of singers, such as voice part or gender, by singer and name of the label.
    """

    fingerprint: str
    enrolled: tuple[EnrolledRecording, ...]
    labels: dict[str, dict[str, str]]


@contextmanager
def lock_gallery(path: Path) -> Iterator[None]:
    """Keep other processes from changing a gallery: load it, change it and save it within this context.

    Raises:
        SingerVerifyError: the folder is not there, or cannot be written to.
    """
    require_gallery_path(path)  # before the lock, which would create the folder
    with lock_file(path):
        yield


def require_gallery_path(path: Path) -> None:
    """Check that a gallery can be written to a path.

    Raises:
        SingerVerifyError: the name does not end in .npz or .sqlite, is that of a folder, or lies in none.
    """
    if path.suffix != ".npz" and not is_store_path(path):
        raise SingerVerifyError(
            f"{path}: expected the name of a gallery, which ends in .npz, or in {STORE_SUFFIX} for very many "
            f"recordings."
        )
    require_output_path(path)


def write_gallery(
    path: Path, fingerprint: str, enrolled: Iterable[EnrolledRecording], labels: SingerLabels | None = None
) -> None:
    """Write a whole gallery, or leave the existing file as it is.

    Args:
        path: path of the file.
        fingerprint: fingerprint of the model.
        enrolled: enrolled recordings.
        labels: labels of singers; those of singers who are not enrolled are left out.

    Raises:
        SingerVerifyError: as of `require_gallery_path`, or it cannot be written.
    """
    require_gallery_path(path)
    assert not is_store_path(path)
    recordings = list(enrolled)
    strings = [
        [recording.singer for recording in recordings],
        [recording.recording for recording in recordings],
        [recording.content for recording in recordings],
    ]
    kept = {singer: dict(values) for singer in sorted(set(strings[0])) if (values := (labels or {}).get(singer))}
    label_text = json.dumps(kept) if kept else ""
    rows = np.stack([recording.embedding for recording in recordings]) if recordings else np.zeros((0, 0), np.float32)
    arrays: dict[str, Any] = {
        name: np.array(column, dtype=np.str_) for name, column in zip(STRING_ARRAYS, strings, strict=True)
    }
    arrays |= {LABELS_ARRAY: label_text} if kept else {}
    version = LABELLED_VERSION if kept else UNLABELLED_VERSION
    arrays |= {"version": version, "fingerprint": fingerprint, "embeddings": rows}
    arrays["checksum"] = _compute_gallery_checksum(fingerprint, strings, rows, label_text)
    with atomic_write(path) as part, open(part, "wb") as file:
        np.savez(file, **arrays)


def read_gallery(path: Path) -> GalleryContent:
    """Read the file of a gallery, of either kind; nothing in it is executed.

    Raises:
        SingerVerifyError: no such file, not a gallery, of another version, or damaged.
    """
    if is_store_path(path):
        with GalleryStore.open(path) as store:
            return GalleryContent(store.fingerprint, tuple(store.read_recordings()), store.read_labels())
    if path.is_dir():
        raise SingerVerifyError(f"{path}: is a folder; expected a gallery, an .npz that singer-verify enrol wrote.")
    if not path.is_file():
        raise SingerVerifyError(f"{path}: no such gallery; singer-verify enrol creates one.")
    try:
        arrays = read_npz(path)
    except ARRAY_READ_ERRORS as error:
        raise SingerVerifyError(f"{path}: is damaged or not a gallery, and was not loaded; enrol again.") from error
    if set(arrays) - {LABELS_ARRAY} != GALLERY_ARRAYS:
        raise SingerVerifyError(f"{path}: is not a gallery; singer-verify enrol creates one.")
    if (version := arrays["version"].tolist()) not in READABLE_GALLERY_VERSIONS:
        raise SingerVerifyError(
            f"{path}: has format {version}; this version reads {' and '.join(map(str, READABLE_GALLERY_VERSIONS))}; "
            f"enrol again."
        )
    labels = _parse_labels(arrays)
    if labels is None or not _is_intact_gallery(arrays):
        raise SingerVerifyError(f"{path}: does not agree with its checksum; it is damaged: enrol again.")
    singers, *strings = (arrays[name].tolist() for name in STRING_ARRAYS)
    columns = map(normalise_name, singers), *strings, arrays["embeddings"]
    enrolled = tuple(EnrolledRecording(*fields) for fields in zip(*columns, strict=True))
    return GalleryContent(str(arrays["fingerprint"]), enrolled, labels)


def require_same_model(path: str | Path, fingerprint: str, model: Model) -> None:
    """Check that a gallery is one of this model.

    Raises:
        SingerVerifyError: it was made with another.
    """
    if fingerprint != model.fingerprint:
        raise SingerVerifyError(
            f"{path}: was made with another model, whose embeddings cannot be compared with this one's; give that "
            f"model, or enrol the recordings again with this one."
        )


def merge_galleries(galleries: Mapping[Path, GalleryContent]) -> GalleryContent:
    """Merge galleries of one model; a recording that several of them hold is kept once.

    Where two galleries give a singer different values of a label, the first one's is kept, and that is logged.

    Args:
        galleries: contents of at least one gallery, by its path.

    Raises:
        SingerVerifyError: galleries of two models, or the same recording under two singers.
    """
    first_path, first = next(iter(galleries.items()))
    owners: dict[str, tuple[Path, EnrolledRecording]] = {}
    merged: list[EnrolledRecording] = []
    labels: dict[str, dict[str, str]] = {}
    for path, gallery in galleries.items():
        if gallery.fingerprint != first.fingerprint:
            raise SingerVerifyError(
                f"{first_path} and {path}: were made with two models, whose embeddings cannot be compared; enrol the "
                f"recordings of one again with the other's model."
            )
        for recording in gallery.enrolled:
            owner_path, owner = owners.setdefault(recording.content, (path, recording))
            if owner is recording:
                merged.append(recording)
            elif owner.singer != recording.singer:
                raise SingerVerifyError(
                    f"{owner_path} and {path}: hold the same recording under two singers, {owner.recording} of "
                    f"{owner.singer} and {recording.recording} of {recording.singer}; remove the wrong one with "
                    f"singer-verify gallery GALLERY --remove NAME --recording RECORDING."
                )
        for singer, values in gallery.labels.items():
            kept = labels.setdefault(singer, {})
            for label, value in values.items():
                if kept.setdefault(label, value) != value:
                    log.warning("%s: %s of %s is %s; %s is kept.", path, label, singer, value, kept[label])
    return GalleryContent(first.fingerprint, tuple(merged), labels)


def _parse_labels(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, str]] | None:
    """Return the labels of singers, empty where the file has none; None if they are damaged."""
    has_labels = LABELS_ARRAY in arrays
    if has_labels != (arrays["version"].tolist() == LABELLED_VERSION):
        return None
    if not has_labels:
        return {}
    try:
        stored = json.loads(str(arrays[LABELS_ARRAY]))
        labels = {normalise_name(singer): dict(values) for singer, values in stored.items()}
    except (ValueError, TypeError, AttributeError):
        return None
    texts = [text for values in labels.values() for pair in values.items() for text in pair]
    return labels if all(isinstance(text, str) for text in texts) else None


def _is_intact_gallery(arrays: dict[str, np.ndarray]) -> bool:
    rows = arrays["embeddings"]
    strings = [arrays[name] for name in (*STRING_ARRAYS, "fingerprint", "checksum")]
    if rows.dtype != np.float32 or rows.ndim != 2 or any(array.dtype.kind != "U" for array in strings):
        return False
    lists = [arrays[name].tolist() for name in STRING_ARRAYS]
    if any(np.shape(column) != (len(rows),) for column in lists):
        return False
    lengths = np.linalg.norm(rows, axis=1)
    plausible = bool((np.abs(lengths - 1.0) < UNIT_NORM_TOLERANCE).all()) and all(map(is_valid_name, lists[0]))
    label_text = str(arrays[LABELS_ARRAY]) if LABELS_ARRAY in arrays else ""
    expected = _compute_gallery_checksum(str(arrays["fingerprint"]), lists, rows, label_text)
    return plausible and str(arrays["checksum"]) == expected


def _compute_gallery_checksum(fingerprint: str, strings: list[list[str]], rows: np.ndarray, label_text: str) -> str:
    version = [LABELLED_VERSION, label_text] if label_text else [UNLABELLED_VERSION]
    digest = hashlib.sha256(json.dumps([*version, fingerprint, *strings]).encode())
    digest.update(np.ascontiguousarray(rows).tobytes())
    return digest.hexdigest()
