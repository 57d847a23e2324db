"""Galleries filled from Parquet parts of embeddings, so that what was embedded once is not embedded again."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from singer_verify.corpora.corpus import SPLITS
from singer_verify.corpora.names import normalise_name
from singer_verify.corpora.tables import read_table
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.averaging import average_by_group
from singer_verify.inference.embedding_parts import (
    CONTENT,
    EMBEDDING,
    MODEL,
    PATH,
    SINGER,
    find_parts,
    read_part,
    read_part_embeddings,
    require_parquet,
)
from singer_verify.inference.enrolment import (
    SAME_RECORDING_REMARK,
    EnrolledRecording,
    EnrolmentResult,
    add_recordings,
    require_singer_name,
)
from singer_verify.inference.gallery_file import GalleryContent, lock_gallery, read_gallery, write_gallery
from singer_verify.inference.gallery_store import GalleryStore, is_store_path

log = logging.getLogger(__name__)
FindSinger = Callable[[str], str | None]  # of a path; None where it is nobody's
NUM_NAMED = 3


@dataclass
class BulkImport:
    """Outcome of importing recordings.

    Attributes:
        added: recordings that are new in the gallery.
        present: number of recordings that the gallery had already, under the same name and singer.
        remarks: sentences on recordings that were left out.
    """

    added: list[str]
    present: int
    remarks: list[str]


def read_singer_table(table: Path) -> dict[str, str]:
    """Read a table of the singers of recordings, with columns path and singer.

    Raises:
        SingerVerifyError: it cannot be read, has no such columns, or a path twice.
    """
    rows = read_table(table, "--singers ", (PATH, SINGER))
    if absent := [name for name in (PATH, SINGER) if name not in rows.columns]:
        raise SingerVerifyError(
            f"--singers {table}: has no column {absent[0]} (columns found: {', '.join(map(str, rows.columns))})."
        )
    paths = [os.path.normpath(path.strip()) for path in rows[PATH].tolist()]
    singers: dict[str, str] = {}
    for path, singer in zip(paths, rows[SINGER].tolist(), strict=True):
        name = normalise_name(singer.strip())
        if singers.setdefault(path, name) != name:
            raise SingerVerifyError(f"--singers {table}: lists {path} as {singers[path]} and as {name}; expected one.")
    return singers


def build_singer_finder(singers: Mapping[str, str] | None, root: Path | None) -> FindSinger | None:
    """Return what finds the singer of a path: a table, or the folders below a root; None without either.

    Args:
        singers: singers by path.
        root: folder whose folders are the singers, or a corpus, whose splits have such folders.
    """
    if singers is not None:
        return lambda path: singers.get(os.path.normpath(path))
    if root is None:
        return None
    prefix = f"{os.path.normpath(root)}{os.sep}"

    def find_by_folder(path: str) -> str | None:
        path = os.path.normpath(path)
        folders = path.removeprefix(prefix).split(os.sep)[:-1] if path.startswith(prefix) else []
        folders = folders[1:] if len(folders) > 1 and folders[0] in SPLITS else folders
        return normalise_name(folders[0]) if folders else None

    return find_by_folder


def iterate_imported_recordings(
    source: Path, find_singer: FindSinger | None, fingerprint: str = ""
) -> Iterator[tuple[str, list[EnrolledRecording]]]:
    """Read recordings from Parquet parts, part by part.

    Rows of one path and singer in a part, such as windows, are one recording: their mean, brought to unit length.

    Args:
        source: a part, or a folder of parts.
        find_singer: finds the singer of a path; None takes the column `singer`.
        fingerprint: fingerprint of the model; empty takes that of the first part.

    Yields:
        The fingerprint of the model, and the recordings of a part.

    Raises:
        SingerVerifyError: a part is damaged, of another model, or lacks a column; a singer's name cannot be used.
    """
    require_parquet()
    nobodys: list[str] = []
    num_left_out = 0
    columns = (PATH, EMBEDDING, MODEL, CONTENT, *((SINGER,) if find_singer is None else ()))
    for part in find_parts(source):
        table = read_part(part, columns, fingerprint)
        if len(table) and not fingerprint:
            fingerprint = table[MODEL][0].as_py()
            table = read_part(part, columns, fingerprint)  # all of it of one model
        rows = read_part_embeddings(table, part)
        paths = table[PATH].to_pylist()
        if find_singer is None:
            singers = [None if name is None else normalise_name(name.strip()) for name in table[SINGER].to_pylist()]
        else:
            singers = [find_singer(path) for path in paths]
        contents = table[CONTENT].to_pylist() if CONTENT in table.column_names else [None] * len(paths)
        missing = [path for path, singer in zip(paths, singers, strict=True) if not singer]
        num_left_out += len(missing)
        nobodys += missing[: NUM_NAMED - len(nobodys)]
        yield fingerprint, _build_recordings(paths, singers, contents, rows)
    if num_left_out:
        log.warning("%s: rows without a singer, left out: %d (%s).", source, num_left_out, ", ".join(nobodys))


def import_parts(
    gallery: Path,
    source: Path,
    find_singer: FindSinger | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = lambda items: items,
) -> BulkImport:
    """Add recordings from Parquet parts to a gallery, which is created if it does not exist.

    A database gets each part in a transaction of its own: after a kill the same call goes on, and leaves out what the
    gallery has. An `.npz` is written at the end.

    Args:
        gallery: path of the gallery.
        source, find_singer: see `iterate_imported_recordings`.
        progress: passes parts on as they are read.

    Raises:
        SingerVerifyError: see `iterate_imported_recordings`; or a gallery of another model, a damaged one, or one that
            cannot be written; or no recording has a singer.
    """
    before = _read_fingerprint(gallery)
    outcome = BulkImport([], 0, [])

    def note(result: EnrolmentResult) -> None:
        noteworthy = [remark for remark in result.remarks if not remark.endswith(SAME_RECORDING_REMARK)]
        outcome.added.extend(result.added)
        outcome.present += len(result.remarks) - len(noteworthy)
        outcome.remarks.extend(noteworthy)

    imported = progress(iterate_imported_recordings(source, find_singer, before))
    if is_store_path(gallery):
        for fingerprint, recordings in imported:
            if recordings:
                with GalleryStore.create(gallery, fingerprint) as store:
                    note(store.add(recordings))
    else:
        fingerprint, pending = before, list[EnrolledRecording]()
        for made_with, recordings in imported:
            fingerprint = made_with
            pending += recordings
        if pending:
            with lock_gallery(gallery):
                content = read_gallery(gallery) if gallery.exists() else GalleryContent(fingerprint, (), {})
                enrolled = list(content.enrolled)
                note(add_recordings(enrolled, pending))
                write_gallery(gallery, fingerprint, enrolled, content.labels)
    if not outcome.added and not outcome.present and not outcome.remarks:
        raise SingerVerifyError(f"{source}: none of its recordings has a singer, so that nothing was imported.")
    return outcome


def merge_into_store(gallery: Path, others: Mapping[Path, GalleryContent]) -> EnrolmentResult:
    """Add the singers of other galleries, and their labels, to a database, which is created if it does not exist.

    Raises:
        SingerVerifyError: galleries of two models, or the database is damaged or cannot be written.
    """
    fingerprint = _read_fingerprint(gallery)
    added, remarks = list[str](), list[str]()
    for path, content in others.items():
        fingerprint = fingerprint or content.fingerprint
        if content.fingerprint != fingerprint:
            raise SingerVerifyError(
                f"{gallery} and {path}: were made with two models, whose embeddings cannot be compared; enrol the "
                f"recordings of one again with the other's model."
            )
    for content in others.values():
        with GalleryStore.create(gallery, fingerprint) as store:
            result = store.add(content.enrolled)
            own = store.read_labels()
            store.set_labels({singer: {**labels, **own.get(singer, {})} for singer, labels in content.labels.items()})
        added += result.added
        remarks += result.remarks
    return EnrolmentResult(tuple(added), tuple(remarks))


def _read_fingerprint(gallery: Path) -> str:
    """Return the fingerprint of a gallery's model; empty where the gallery does not exist yet."""
    if not gallery.exists() or (is_store_path(gallery) and not gallery.stat().st_size):
        return ""
    if not is_store_path(gallery):
        return read_gallery(gallery).fingerprint
    with GalleryStore.open(gallery) as store:
        return store.fingerprint


def _build_recordings(
    paths: list[str], singers: list[str | None], contents: list[str | None], rows: np.ndarray
) -> list[EnrolledRecording]:
    groups: dict[tuple[str, str], int] = {}
    kept = [row for row, singer in enumerate(singers) if singer]
    index = np.array([groups.setdefault((paths[row], singers[row] or ""), len(groups)) for row in kept], np.int64)
    num_singers: dict[str, int] = {}
    for path, _ in groups:
        num_singers[path] = num_singers.get(path, 0) + 1
    content_by_group: dict[int, str | None] = {}
    for row, group in zip(kept, index.tolist(), strict=True):
        content_by_group.setdefault(group, contents[row])
    means = average_by_group(rows[kept], index)
    recordings = []
    valid: dict[str, str] = {}
    for (path, singer), group in groups.items():
        if singer not in valid:
            valid[singer] = require_singer_name(singer)
        content = content_by_group[group]
        if not content or num_singers[path] > 1:  # several singers in one recording: each of their shares is its own
            content = hashlib.sha256(means[group].tobytes()).hexdigest()
        recordings.append(EnrolledRecording(valid[singer], path, content, means[group]))
    return recordings
