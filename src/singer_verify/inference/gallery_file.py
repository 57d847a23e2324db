"""The file of a gallery: plain arrays, written whole, changed by one process at a time.

An `.npz` of `version`, `fingerprint` (of the model), `singers`, `recordings`, `contents` (one string for each
recording), `embeddings` (float32, recordings × embedding) and `checksum` (of all the others).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from singer_verify.atomic_files import atomic_write, require_output_path
from singer_verify.errors import SingerVerifyError
from singer_verify.inference.enrolment import EnrolledRecording, is_valid_name
from singer_verify.npz import ARRAY_READ_ERRORS, read_npz

GALLERY_FORMAT_VERSION = 1
STRING_ARRAYS = ("singers", "recordings", "contents")
GALLERY_ARRAYS = {"version", "fingerprint", *STRING_ARRAYS, "embeddings", "checksum"}
UNIT_NORM_TOLERANCE = 1e-3


@contextmanager
def lock_gallery(path: Path) -> Iterator[None]:
    """Keep other processes from changing a gallery: load it, change it and save it within this context.

    Raises:
        SingerVerifyError: the folder is not there, or cannot be written to.
    """
    require_gallery_path(path)  # before the lock, which would create the folder
    lock_path = path.with_name(f"{path.name}.lock")
    lock = FileLock(lock_path)
    try:
        lock_path.touch()  # fails at once where the folder is not writable; FileLock may retry forever
        lock.acquire()
    except OSError as error:
        raise SingerVerifyError(
            f"{path}: its folder cannot be written to ({error.strerror or error}); choose another."
        ) from error
    try:
        yield
    finally:
        # While it is held: FileLock makes a process that waits for a removed file start over.
        with suppress(OSError):  # systems that keep open files, where FileLock removes it
            lock_path.unlink()
        lock.release()


def require_gallery_path(path: Path) -> None:
    """Check that a gallery can be written to a path.

    Raises:
        SingerVerifyError: the name does not end in .npz, is that of a folder, or lies in none.
    """
    if path.suffix != ".npz":
        raise SingerVerifyError(f"{path}: expected the name of a gallery, which ends in .npz.")
    require_output_path(path)


def write_gallery(path: Path, fingerprint: str, enrolled: Iterable[EnrolledRecording]) -> None:
    """Write a whole gallery, or leave the existing file as it is.

    Raises:
        SingerVerifyError: as of `require_gallery_path`, or it cannot be written.
    """
    require_gallery_path(path)
    recordings = list(enrolled)
    strings = [
        [each.singer for each in recordings],
        [each.recording for each in recordings],
        [each.content for each in recordings],
    ]
    rows = np.stack([each.embedding for each in recordings]) if recordings else np.zeros((0, 0), np.float32)
    arrays: dict[str, Any] = {
        name: np.array(each, dtype=np.str_) for name, each in zip(STRING_ARRAYS, strings, strict=True)
    }
    arrays |= {"version": GALLERY_FORMAT_VERSION, "fingerprint": fingerprint, "embeddings": rows}
    arrays["checksum"] = _compute_gallery_checksum(fingerprint, strings, rows)
    with atomic_write(path) as part, open(part, "wb") as file:
        np.savez(file, **arrays)


def read_gallery(path: Path) -> tuple[str, tuple[EnrolledRecording, ...]]:
    """Return the fingerprint of a gallery's model, and its recordings; nothing in the file is executed.

    Raises:
        SingerVerifyError: no such file, not a gallery, of another version, or damaged.
    """
    if path.is_dir():
        raise SingerVerifyError(f"{path}: is a folder; expected a gallery, an .npz that singer-verify enrol wrote.")
    if not path.is_file():
        raise SingerVerifyError(f"{path}: no such gallery; singer-verify enrol makes one.")
    try:
        arrays = read_npz(path)
    except ARRAY_READ_ERRORS as error:
        raise SingerVerifyError(f"{path}: is damaged or no gallery, and was not loaded; enrol again.") from error
    if set(arrays) != GALLERY_ARRAYS:
        raise SingerVerifyError(f"{path}: is no gallery; singer-verify enrol makes one.")
    if (version := arrays["version"].tolist()) != GALLERY_FORMAT_VERSION:
        raise SingerVerifyError(
            f"{path}: has format {version}; this version reads {GALLERY_FORMAT_VERSION}; enrol again."
        )
    if not _is_intact_gallery(arrays):
        raise SingerVerifyError(f"{path}: does not agree with its checksum; it is damaged: enrol again.")
    strings = (arrays[name].tolist() for name in STRING_ARRAYS)
    enrolled = tuple(EnrolledRecording(*each) for each in zip(*strings, arrays["embeddings"], strict=True))
    return str(arrays["fingerprint"]), enrolled


def _is_intact_gallery(arrays: dict[str, np.ndarray]) -> bool:
    rows = arrays["embeddings"]
    strings = [arrays[name] for name in (*STRING_ARRAYS, "fingerprint", "checksum")]
    if rows.dtype != np.float32 or rows.ndim != 2 or any(each.dtype.kind != "U" for each in strings):
        return False
    lists = [arrays[name].tolist() for name in STRING_ARRAYS]
    if any(np.shape(each) != (len(rows),) for each in lists):
        return False
    lengths = np.linalg.norm(rows, axis=1)
    plausible = bool((np.abs(lengths - 1.0) < UNIT_NORM_TOLERANCE).all()) and all(map(is_valid_name, lists[0]))
    return plausible and str(arrays["checksum"]) == _compute_gallery_checksum(str(arrays["fingerprint"]), lists, rows)


def _compute_gallery_checksum(fingerprint: str, strings: list[list[str]], rows: np.ndarray) -> str:
    digest = hashlib.sha256(json.dumps([GALLERY_FORMAT_VERSION, fingerprint, *strings]).encode())
    digest.update(np.ascontiguousarray(rows).tobytes())
    return digest.hexdigest()
