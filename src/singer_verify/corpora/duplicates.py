"""Recordings that are the same file under two names."""

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from singer_verify.corpora.recording import Recording
from singer_verify.errors import SingerVerifyError

log = logging.getLogger(__name__)


def remove_duplicates(recordings: list[Recording], drop_shared: bool = False) -> list[Recording]:
    """Leave out what is there twice, byte for byte.

    Of equal files of one singer the one with the shortest name is kept. Equal files of two singers are a mistake of the
    data set: nobody can tell from the file who sings, and if the singers come into two splits, the model is judged on
    what it has heard.

    Args:
        recordings: of the data set.
        drop_shared: leave out all copies of files that two singers share, instead of refusing them.

    Raises:
        SingerVerifyError: two singers share a file, and it is not to be dropped.
    """
    left_out: set[Path] = set()
    for copies in _group_identical_files(recordings):
        singers = sorted({copy.singer for copy in copies})
        names = " and ".join(str(copy.source) for copy in copies)
        if len(singers) == 1:
            log.warning("%s: the same recording; kept once.", names)
            left_out |= {copy.source for copy in copies[1:]}
        elif drop_shared:
            log.warning("%s: the same recording under %s; left out.", names, " and ".join(singers))
            left_out |= {copy.source for copy in copies}
        else:
            raise SingerVerifyError(
                f"{names}: the same recording under the singers {' and '.join(singers)}; find out who sings and remove "
                f"the other, or leave out all such recordings with --drop-duplicates."
            )
    return [recording for recording in recordings if recording.source not in left_out]


def _group_identical_files(recordings: list[Recording]) -> Iterator[list[Recording]]:
    """Groups of recordings with equal content; only files of equal size are read."""
    by_size: dict[int, list[Recording]] = defaultdict(list)
    for recording in recordings:
        if recording.source.is_file():  # else a link to nothing, which is named and left out later
            by_size[recording.source.stat().st_size].append(recording)
    for same_size in by_size.values():
        by_content: dict[bytes, list[Recording]] = defaultdict(list)
        for recording in same_size if len(same_size) > 1 else []:
            by_content[compute_file_sha256(recording.source)].append(recording)
        for copies in by_content.values():
            if len(copies) > 1:
                yield sorted(copies, key=lambda copy: (len(copy.source.name), copy.source))


def compute_file_sha256(path: Path) -> bytes:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


HASHED_BLOCK_BYTES = 4096  # at the beginning, in the middle and at the end: enough to tell recordings apart, soon read


def compute_recording_ids(paths: Iterable[Path]) -> list[int]:
    """A number of 64 bits with a sign for each file, of its size and of three pieces of its content.

    Links are followed; a copy and a link have the number of their original, another coding of the same sound has not.

    Raises:
        OSError: a file cannot be read.
    """
    return [_compute_recording_id(path) for path in paths]


def _compute_recording_id(path: Path) -> int:
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        checksum = hashlib.blake2b(str(size).encode(), digest_size=8)
        for start in (0, max(size // 2 - HASHED_BLOCK_BYTES // 2, 0), max(size - HASHED_BLOCK_BYTES, 0)):
            file.seek(start)
            checksum.update(file.read(HASHED_BLOCK_BYTES))
    return int.from_bytes(checksum.digest(), "big", signed=True)
