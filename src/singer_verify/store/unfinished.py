"""What an interrupted extraction left behind, cut back to what is whole."""

import csv
import zlib
from pathlib import Path
from typing import BinaryIO

from singer_verify.corpora.folder import Utterance
from singer_verify.store.packed import FRAMES_NAME, INDEX_COLUMNS, INDEX_NAME


def keep_whole_utterances(folder: Path, utterances: tuple[Utterance, ...], bytes_per_frame: int) -> int:
    """Cut frames and index back to the utterances that are whole in both and in their place, and count these.

    Args:
        folder: of the store.
        utterances: all that the store will hold, in order.
        bytes_per_frame: of the packed frames.
    """
    frames_path, index_path = folder / FRAMES_NAME, folder / INDEX_NAME
    frames_path.touch()
    lines = []
    if index_path.exists():
        lines = index_path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")[1:-1]
    whole, end = 0, 0
    with open(frames_path, "r+b") as frames_file:
        for utterance, line in zip(utterances, lines, strict=False):
            num_bytes = _whole_bytes(line, utterance, frames_file, bytes_per_frame)
            if num_bytes is None:
                break
            whole, end = whole + 1, end + num_bytes
        frames_file.truncate(end)
    kept = [",".join(INDEX_COLUMNS), *lines[:whole]]
    index_path.write_text("\n".join(kept) + "\n", encoding="utf-8", errors="surrogateescape")
    return whole


def _whole_bytes(line: str, utterance: Utterance, frames_file: BinaryIO, bytes_per_frame: int) -> int | None:
    """The bytes of an utterance, if the line of the index is about it and its frames agree; None if not."""
    try:
        (row,) = csv.reader([line])
        path, singer, num_frames, checksum, skipped = row
        num_bytes = int(num_frames) * bytes_per_frame
        is_whole = num_bytes >= 0 and zlib.crc32(frames_file.read(num_bytes)) == int(checksum)
    except (ValueError, csv.Error):
        return None
    is_about_it = (path, singer) == (utterance.path, utterance.singer) and (num_bytes == 0) == bool(skipped)
    return num_bytes if is_whole and is_about_it else None
