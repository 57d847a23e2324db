"""The files that a store was computed from: whether they are still the same, without reading them if possible."""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from singer_verify.atomic_files import atomic_write_many
from singer_verify.corpora.corpus import Utterance
from singer_verify.corpora.file_search import require_link_target

FILES_NAME = "files.json"  # in the folder of a store
log = logging.getLogger(__name__)


class FileState(NamedTuple):
    """State of a file as the file system tells it, without reading it; a changed file has another state.

    Whoever replaces a file can give the new one the size and modification time of the old, but not its `ctime_ns`. On
    the other hand the state of a copy differs, and may change for other reasons.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def read_file_states(root: Path, utterances: Iterable[Utterance]) -> list[FileState]:
    """Read the state of the file of each utterance.

    Raises:
        SingerVerifyError: a file cannot be accessed, for instance a link to a file that was moved.
    """
    return [_read_file_state(root / utterance.path) for utterance in utterances]


def _read_file_state(path: Path) -> FileState:
    status = require_link_target(path)
    return FileState(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def read_recorded_states(folder: Path) -> list[FileState]:
    """Read the states of a store's files; empty if they are not recorded, or the record is damaged."""
    try:
        return [FileState(*state) for state in json.loads((folder / FILES_NAME).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def write_recorded_states(folder: Path, states: list[FileState]) -> None:
    with atomic_write_many(folder / FILES_NAME) as (part,):
        part.write_text(json.dumps(states), encoding="utf-8")


def compute_file_hash(path: Path) -> str:
    """Compute a checksum of a file's bytes; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return ""


def find_changed_files(
    folder: Path, file_hashes: Mapping[str, str], root: Path, utterances: Sequence[Utterance], states: list[FileState]
) -> set[str]:
    """Return the paths of utterances whose files are not those that a finished store was computed from.

    Files whose states are as recorded are not read. States were recorded before the files were read, so that a file
    that was replaced while its frames were computed is compared.

    Args:
        folder: folder of the store.
        file_hashes: checksum of each file from which the store was computed, by the path of the utterance.
        root: folder of the corpus.
        utterances: utterances of the store.
        states: states of their files now.
    """
    recorded = read_recorded_states(folder)
    if recorded == states:
        return set()
    before = dict(zip((utterance.path for utterance in utterances), recorded, strict=False))
    doubtful = [
        utterance.path
        for utterance, state in zip(utterances, states, strict=True)
        if before.get(utterance.path) != state
    ]
    log.info("%s: comparing %d files of %s with those its frames were computed from.", folder, len(doubtful), root)
    changed = {path for path in doubtful if compute_file_hash(root / path) != file_hashes.get(path)}
    if not changed:
        with suppress(OSError):  # a read-only store is compared every time it is opened
            write_recorded_states(folder, states)
    return changed


def count_unchanged_files(recorded: list[FileState], states: list[FileState]) -> int:
    """Count the files before the first that is not as recorded when an interrupted extraction read it."""
    is_same = [before == state for before, state in zip(recorded, states, strict=False)]
    return is_same.index(False) if False in is_same else len(is_same)
