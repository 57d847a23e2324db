"""The index of a store, a csv with a line per utterance, while it is written and after an interruption."""

import csv
import io
import logging
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from singer_verify.corpora.corpus import Split, Utterance
from singer_verify.corpora.duplicates import RecordingRegister
from singer_verify.errors import SingerVerifyError
from singer_verify.store.packed import FRAMES_NAME, INDEX_COLUMNS, INDEX_NAME, PackedStore

log = logging.getLogger(__name__)
MAX_LOGGED_SKIPS = 20  # number of skipped utterances named in the log


def format_index_row(
    utterance: Utterance, num_frames: int, checksum: int, content: int, file_hash: str, skipped: str
) -> str:
    """Format a line of the index, with its own checksum at its end."""
    fields = (utterance.path, utterance.singer, num_frames, checksum, content, file_hash, skipped)
    row = io.StringIO()
    csv.writer(row, lineterminator="\n").writerow([*fields, _compute_row_checksum(map(str, fields))])
    return row.getvalue()


def parse_index_row(line: str) -> tuple[str, ...]:
    """Parse a line of the index, without its line break, into its fields.

    Raises:
        ValueError: it has other fields, or does not match its checksum.
    """
    try:
        (fields,) = csv.reader([line])
    except csv.Error as error:
        raise ValueError(line) from error
    if len(fields) != len(INDEX_COLUMNS) or fields[-1] != _compute_row_checksum(fields[:-1]):
        raise ValueError(line)
    return tuple(fields)


def _compute_row_checksum(fields: Iterable[str]) -> str:
    return str(zlib.crc32("\0".join(fields).encode(errors="surrogateescape")))


def read_register(folder: Path, root: Path) -> RecordingRegister:
    """Return the register of the recordings that are in the index of an unfinished store."""
    register = RecordingRegister(root)
    lines = (folder / INDEX_NAME).read_text(encoding="utf-8", errors="surrogateescape").split("\n")[1:-1]
    for path, singer, _, _, content, _, skipped, _ in map(parse_index_row, lines):
        if not skipped:
            register.add(path, singer, int(content))
    return register


def truncate_to_complete_utterances(folder: Path, utterances: tuple[Utterance, ...], bytes_per_frame: int) -> int:
    """Cut frames and index back to the utterances that are whole in both and in their place, and count these.

    Args:
        folder: folder of the store.
        utterances: all utterances of the finished store, in order.
        bytes_per_frame: bytes of one packed frame.
    """
    frames_path, index_path = folder / FRAMES_NAME, folder / INDEX_NAME
    frames_path.touch()
    lines = []
    if index_path.exists():
        lines = index_path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")[1:-1]
    whole, end = 0, 0
    with open(frames_path, "r+b") as frames_file:
        for utterance, line in zip(utterances, lines, strict=False):
            num_bytes = _count_complete_bytes(line, utterance, frames_file, bytes_per_frame)
            if num_bytes is None:
                break
            whole, end = whole + 1, end + num_bytes
        frames_file.truncate(end)
    kept = [",".join(INDEX_COLUMNS), *lines[:whole]]
    index_path.write_text("\n".join(kept) + "\n", encoding="utf-8", errors="surrogateescape")
    return whole


def _count_complete_bytes(line: str, utterance: Utterance, frames_file: BinaryIO, bytes_per_frame: int) -> int | None:
    """Count the bytes of an utterance; return None unless its line of the index and its frames agree with it."""
    try:
        path, singer, num_frames, checksum, _, _, skipped, _ = parse_index_row(line)
        num_bytes = int(num_frames) * bytes_per_frame
        is_whole = num_bytes >= 0 and zlib.crc32(frames_file.read(num_bytes)) == int(checksum)
    except ValueError:
        return None
    is_about_it = (path, singer) == (utterance.path, utterance.singer) and (num_bytes == 0) == bool(skipped)
    return num_bytes if is_whole and is_about_it else None


def report_skipped_utterances(store: PackedStore, root: Path, split: Split) -> None:
    """Log the utterances that a store lacks.

    Raises:
        SingerVerifyError: a singer has no utterance left.
    """
    for reason in store.skipped[:MAX_LOGGED_SKIPS]:
        log.warning("Skipped: %s", os.path.join(root, reason))
    if store.skipped:
        unnamed = len(store.skipped) - MAX_LOGGED_SKIPS
        more = f"; {unnamed} of them are not named above" if unnamed > 0 else ""
        log.warning("%s: %d of %d utterances skipped%s.", split.name, len(store.skipped), len(split.utterances), more)
    if lost := [singer for singer in split.singers if singer not in set(store.singers)]:
        first = os.path.join(root, store.skipped[0]).rstrip(".")
        if len(lost) == len(split.singers):
            raise SingerVerifyError(
                f"{split.name}: none of its {len(split.utterances)} utterances can be used (the first: {first}); "
                f"repair them or choose other features."
            )
        raise SingerVerifyError(
            f"{split.name}: none of the utterances of {', '.join(lost)} can be used (the first: {first}); "
            f"repair them or delete the singer's folder."
        )
