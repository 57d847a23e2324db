"""Whether the files of a store still hold what was written into them."""

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
    """A store's files are not what was written; its frames can be computed again."""


def seal_manifest(manifest: dict[str, Any], index: bytes) -> dict[str, Any]:
    """A manifest with the checksum of the index, and with its own."""
    manifest = {**manifest, "index_sha256": hashlib.sha256(index).hexdigest()}
    return {**manifest, "sha256": _compute_manifest_sha256(manifest)}


def check_seal(manifest: Any, index: bytes) -> None:
    """
    Raises:
        StoreDamageError: the manifest or the index is not as it was sealed.
    """
    if not isinstance(manifest, dict):
        raise StoreDamageError("its manifest is not a table of settings")
    contents = {name: value for name, value in manifest.items() if name != "sha256"}
    if manifest.get("sha256") != _compute_manifest_sha256(contents):
        raise StoreDamageError("the checksum of its manifest does not agree")
    if manifest["index_sha256"] != hashlib.sha256(index).hexdigest():
        raise StoreDamageError("the checksum of its index does not agree")


def check_frame_checksums(path: Path, num_bytes_of: list[int], checksums: list[int]) -> None:
    """Compare each utterance's bytes with its checksum, unless the file was found whole before and is unchanged since.

    A file's size and time of change tell whether it is unchanged, so that opening a large store again costs nothing.

    Args:
        path: of the packed frames.
        num_bytes_of: each utterance's share of the file, one after another.
        checksums: CRC-32 of each.

    Raises:
        StoreDamageError: naming the place of the first utterance that differs.
    """
    status = path.stat()
    if status.st_size != sum(num_bytes_of):
        raise StoreDamageError(f"{path.name} has {status.st_size} bytes, expected {sum(num_bytes_of)}")
    state = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    if _read_verified_state(path) == state:
        return
    with open(path, "rb") as file:
        for place, (num_bytes, checksum) in enumerate(zip(num_bytes_of, checksums, strict=True)):
            if zlib.crc32(file.read(num_bytes)) != checksum:
                raise StoreDamageError(
                    f"the frames of utterance {place} in {path.name} do not agree with their checksum"
                )
    _write_verified_state(path, state)


def _read_verified_state(frames_path: Path) -> Any:
    try:
        return json.loads((frames_path.parent / VERIFIED_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # never verified, or not known: the frames are read


def _write_verified_state(frames_path: Path, state: dict[str, int]) -> None:
    # A store that may only be read is verified each time it is opened. Of processes that open one at the same time,
    # one leaves its record, and all would leave the same.
    with suppress(OSError), atomic_write_many(frames_path.parent / VERIFIED_NAME) as (part,):
        part.write_text(json.dumps(state), encoding="utf-8")


def _compute_manifest_sha256(contents: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def iter_file_states(root: Path, utterances: Iterable[Utterance]) -> Iterator[bytes]:
    """Path, size and time of change of each utterance's file, to be hashed.

    Raises:
        SingerVerifyError: one of them cannot be reached, for instance a link to a file that was moved.
    """
    for utterance in utterances:
        path = root / utterance.path
        try:
            status = os.stat(path)
        except OSError as error:
            to_what = f" links to {os.readlink(path)}, which" if path.is_symlink() else ""
            raise SingerVerifyError(
                f"{path}:{to_what} cannot be read ({error.strerror}); bring the file back, delete the name, or prepare "
                f"the corpus again."
            ) from error
        state = f"{utterance.path}\0{status.st_size}\0{status.st_mtime_ns}\n"
        yield state.encode(errors="surrogateescape")
