"""Detection of duplicate recordings, and IDs that identify recordings across data sets."""

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from singer_verify.corpora.corpus import Recording
from singer_verify.errors import SingerVerifyError

log = logging.getLogger(__name__)
# Bytes hashed at the beginning, middle and end of a file: enough to distinguish recordings, and fast to read.
HASHED_BLOCK_BYTES = 4096


def remove_duplicates(recordings: list[Recording], drop_shared: bool = False) -> list[Recording]:
    """Remove recordings whose files are identical byte for byte.

    Of identical files of one singer, the one with the shortest name is kept. Identical files of two singers are a
    mistake in the data set: the file does not tell who sings, and if the singers end up in different splits, the model
    is evaluated on training data.

    Args:
        recordings: recordings of the data set.
        drop_shared: whether to remove all copies of files that two singers share instead of raising an error.

    Raises:
        SingerVerifyError: two singers share a file and `drop_shared` is False.
    """
    dropped: set[Path] = set()
    for copies in _group_identical_files(recordings):
        singers = sorted({copy.singer for copy in copies})
        names = " and ".join(str(copy.source) for copy in copies)
        if len(singers) == 1:
            log.warning("%s: the same recording; kept once.", names)
            dropped |= {copy.source for copy in copies[1:]}
        elif drop_shared:
            log.warning("%s: the same recording under %s; dropped.", names, " and ".join(singers))
            dropped |= {copy.source for copy in copies}
        else:
            raise SingerVerifyError(
                f"{names}: the same recording under the singers {' and '.join(singers)}; remove the wrong one, or drop "
                f"all such recordings with --drop-duplicates."
            )
    return [recording for recording in recordings if recording.source not in dropped]


def _group_identical_files(recordings: list[Recording]) -> Iterator[list[Recording]]:
    """Yield groups of recordings with identical content; only files of equal size are read."""
    by_size: dict[int, list[Recording]] = defaultdict(list)
    for recording in recordings:
        if recording.source.is_file():  # otherwise a broken link, which is reported and skipped later
            by_size[recording.source.stat().st_size].append(recording)
    for same_size in by_size.values():
        by_content: dict[bytes, list[Recording]] = defaultdict(list)
        for recording in same_size if len(same_size) > 1 else []:
            by_content[compute_file_sha256(recording.source)].append(recording)
        for copies in by_content.values():
            if len(copies) > 1:
                yield sorted(copies, key=lambda copy: (len(copy.source.name), copy.source))


def compute_file_sha256(path: Path) -> bytes:
    """Compute the SHA-256 digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def compute_recording_ids(paths: Iterable[Path]) -> list[int]:
    """Compute a signed 64-bit ID of each file from its size and three blocks of its content.

    Copies and links have the ID of their original; the same audio in another encoding has a different one.

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
