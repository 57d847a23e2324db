"""Integrity of a store: the seal of its manifest, checksums of its frames, and the state of source files."""

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from singer_verify.atomic_files import atomic_write_many
from singer_verify.corpora.corpus import Utterance
from singer_verify.errors import SingerVerifyError

VERIFIED_NAME = "verified.json"


class StoreDamageError(SingerVerifyError):
    """A damaged or unfinished store; its frames can be computed again."""


def seal_manifest(manifest: dict[str, Any], index: bytes) -> dict[str, Any]:
    """Return the manifest with the checksum of the index and its own checksum added."""
    manifest = {**manifest, "index_sha256": hashlib.sha256(index).hexdigest()}
    return {**manifest, "sha256": _compute_manifest_sha256(manifest)}


def check_seal(manifest: Any, index: bytes) -> None:
    """Check a manifest and an index against the checksums from `seal_manifest`.

    Raises:
        StoreDamageError: the manifest or the index was changed after sealing.
    """
    if not isinstance(manifest, dict):
        raise StoreDamageError("its manifest is not a JSON object")
    contents = {name: value for name, value in manifest.items() if name != "sha256"}
    if manifest.get("sha256") != _compute_manifest_sha256(contents):
        raise StoreDamageError("the checksum of its manifest does not match")
    if manifest["index_sha256"] != hashlib.sha256(index).hexdigest():
        raise StoreDamageError("the checksum of its index does not match")


def check_frame_checksums(path: Path, num_bytes: list[int], checksums: list[int]) -> None:
    """Check the frames of every utterance against their checksums, unless this file was verified before.

    A file with the same size and modification time as when it was last verified is not read again, so that reopening a
    large store is free.

    Args:
        path: file of packed frames.
        num_bytes: bytes of each utterance, in file order.
        checksums: CRC-32 of each utterance.

    Raises:
        StoreDamageError: the file has another size, or an utterance does not match; the message gives its index.
    """
    status = path.stat()
    if status.st_size != sum(num_bytes):
        raise StoreDamageError(f"{path.name} has {status.st_size} bytes, expected {sum(num_bytes)}")
    state = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    if _read_verified_state(path) == state:
        return
    with open(path, "rb") as file:
        for index, (size, checksum) in enumerate(zip(num_bytes, checksums, strict=True)):
            if zlib.crc32(file.read(size)) != checksum:
                raise StoreDamageError(f"the frames of utterance {index} in {path.name} do not match their checksum")
    _write_verified_state(path, state)


def _read_verified_state(frames_path: Path) -> Any:
    try:
        return json.loads((frames_path.parent / VERIFIED_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # never verified or unreadable record: read the frames


def _write_verified_state(frames_path: Path, state: dict[str, int]) -> None:
    # A read-only store is verified every time it is opened. Processes that open a store at the same time write the same
    # record, so it does not matter which one wins.
    with suppress(OSError), atomic_write_many(frames_path.parent / VERIFIED_NAME) as (part,):
        part.write_text(json.dumps(state), encoding="utf-8")


def _compute_manifest_sha256(contents: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def iter_file_states(root: Path, utterances: Iterable[Utterance]) -> Iterator[bytes]:
    """Yield path, size and modification time of the file of each utterance, as bytes to hash.

    Raises:
        SingerVerifyError: a file cannot be accessed, for instance a link to a file that was moved.
    """
    for utterance in utterances:
        path = root / utterance.path
        try:
            status = os.stat(path)
        except OSError as error:
            to_what = f" links to {os.readlink(path)}, which" if path.is_symlink() else ""
            raise SingerVerifyError(
                f"{path}:{to_what} cannot be read ({error.strerror}); restore the file, delete this path, or prepare "
                f"the corpus again."
            ) from error
        state = f"{utterance.path}\0{status.st_size}\0{status.st_mtime_ns}\n"
        yield state.encode(errors="surrogateescape")
