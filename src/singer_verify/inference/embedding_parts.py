"""Embeddings of very many files: a folder of Parquet parts, which shards fill side by side.

A part holds a row for each recording, or for each window of it. Parts are whole or not there: the paths in them tell
what is embedded, so that a shard that was killed goes on where it was.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from singer_verify.atomic_files import atomic_write, lock_file
from singer_verify.audio.content import NO_CONTENT
from singer_verify.corpora.names import normalise_name
from singer_verify.errors import SingerVerifyError, UtteranceError, format_installation
from singer_verify.inference.enrolment import format_content
from singer_verify.inference.model import Model
from singer_verify.inference.windows import RecordingEmbedding

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
PART_SUFFIX = ".parquet"
DEFAULT_FILES_PER_PART = 1000  # work that a kill can lose
PATH, START, END, CONTENT, EMBEDDING, MODEL = PART_COLUMNS = "path", "start_s", "end_s", "content", "embedding", "model"
SINGER = "singer"  # a further column, which imports into galleries read
UNIT_NORM_TOLERANCE = 1e-3
ShowRecordings = Callable[[Iterable[Any], str, int], Iterable[Any]]  # passes items on, and shows how many are done


def require_parquet() -> None:
    """Check that Parquet files can be read and written here.

    Raises:
        SingerVerifyError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise SingerVerifyError(
            f"Parquet files need pyarrow, which cannot be imported ({error}); install it with "
            f"{format_installation('catalogue')}."
        ) from error


@dataclass(frozen=True)
class Shard:
    """A share of the files, the same on every machine: by a hash of the path below the folder that was given.

    Attributes:
        number: which one, from 1.
        num_shards: number of shards.
    """

    number: int
    num_shards: int

    def __str__(self) -> str:
        return f"{self.number}/{self.num_shards}"

    def has(self, key: str) -> bool:
        """Return whether a file falls to this shard, by its path below the folder that was given."""
        digest = hashlib.blake2b(normalise_name(key).encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.num_shards == self.number - 1


ALL_FILES = Shard(1, 1)


def parse_shard(text: str) -> Shard:
    """Parse `3/16`, the third of sixteen shards.

    Raises:
        SingerVerifyError: not two numbers, or a shard that there is not.
    """
    number, separator, count = text.partition("/")
    if not (separator and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise SingerVerifyError(f"shard={text}: expected I/N with I from 1 to N, for instance 3/16 or 16/16.")
    return Shard(int(number), int(count))


def select_shard_files(files: Iterable[Path], roots: Sequence[Path], shard: Shard) -> list[Path]:
    """Select the files of a shard, each once.

    Args:
        files: all files.
        roots: folders that they were found in, and files that were given by themselves.
        shard: the shard.
    """
    prefixes = [f"{str(root).rstrip(os.sep)}{os.sep}" for root in roots]

    def build_key(name: str) -> str:
        below = next((name[len(prefix) :] for prefix in prefixes if name.startswith(prefix)), None)
        if below is None:  # a file by itself, or in a folder that is given as "."
            below = name if Path(".") in roots else os.path.basename(name)
        return below.replace(os.sep, "/")

    return [file for file in dict.fromkeys(files) if shard.num_shards == 1 or shard.has(build_key(str(file)))]


@dataclass
class BulkEmbedding:
    """Outcome of embedding the files of a shard.

    Attributes:
        added: number of files that were embedded now.
        present: number of files that parts held already.
        skipped: number of files that cannot be used.
        parts: files that were written.
    """

    added: int
    present: int
    skipped: int
    parts: list[Path]


def embed_into_parts(
    model: Model,
    files: Iterable[Path],
    folder: Path,
    shard: Shard = ALL_FILES,
    files_per_part: int = DEFAULT_FILES_PER_PART,
    by_window: bool = False,
    progress: ShowRecordings = lambda items, _description, _total: items,
) -> BulkEmbedding:
    """Embed the files of a shard that no part in a folder holds, and write them to new parts.

    An interruption loses the part that was not yet written, a kill no more than that; the same call then goes on. Files
    that cannot be used are logged, and tried again by the next call.

    Args:
        model: a model that was loaded from a file.
        files: files of the shard.
        folder: folder of the parts of all shards, created if missing.
        shard: the shard, which numbers its own parts.
        files_per_part: number of files of a part.
        by_window: write a row for each window rather than for each recording.
        progress: passes items on as they are embedded.

    Raises:
        SingerVerifyError: a part that is there is damaged or of another model, another process embeds this shard, none
            of the files can be used, or a part cannot be written.
    """
    require_parquet()
    if folder.exists() and not folder.is_dir():
        raise SingerVerifyError(f"{folder}: is a file; expected a folder for the Parquet parts.")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise SingerVerifyError(
            f"{folder}: cannot be created ({error.strerror or error}); give another path."
        ) from error
    stem = f"shard-{shard.number:0{len(str(shard.num_shards))}d}-of-{shard.num_shards}"
    with lock_file(folder / stem, "another process embeds this shard; wait until it has ended."):
        listed = list(files)
        present = read_embedded_paths(folder, model.fingerprint, by_window)
        missing = [file for file in listed if str(file) not in present]
        number = _count_parts(folder, stem)
        outcome = BulkEmbedding(0, len(listed) - len(missing), 0, [])
        pending: list[RecordingEmbedding] = []

        def write() -> None:
            path = folder / f"{stem}-{number + len(outcome.parts):06d}{PART_SUFFIX}"
            rows, taken = list(pending), len(pending)
            pending.clear()
            _write_part(path, rows, model.fingerprint, by_window)
            outcome.parts.append(path)
            outcome.added += taken

        embedded = progress(model.embed_many(missing), "Embedding", len(missing))
        try:
            for _, result in embedded:
                if isinstance(result, UtteranceError):
                    log.warning("Skipped: %s", result)
                    outcome.skipped += 1
                else:
                    pending.append(result)
                    if len(pending) >= files_per_part:
                        write()
        finally:  # interrupted, too: what is embedded is kept
            if pending:
                write()
    if outcome.skipped and not outcome.added and not outcome.present:
        raise SingerVerifyError(f"none of {len(listed)} files can be used; the reasons are above.")
    return outcome


def find_parts(path: Path) -> list[Path]:
    """Find the parts in a folder, sorted, or return the one that is named.

    Raises:
        SingerVerifyError: no such file or folder, or no part in it.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise SingerVerifyError(
            f"{path}: no such file or folder; expected Parquet parts, as singer-verify embed writes."
        )
    if not (parts := sorted(path.rglob(f"*{PART_SUFFIX}"))):
        raise SingerVerifyError(f"{path}: holds no Parquet part, *{PART_SUFFIX}; singer-verify embed writes them.")
    return parts


def read_embedded_paths(folder: Path, fingerprint: str, by_window: bool) -> set[str]:
    """Return the paths that the parts in a folder hold.

    Raises:
        SingerVerifyError: a part is damaged, of another model, or has windows where recordings are wanted.
    """
    paths: set[str] = set()
    for part in sorted(folder.glob(f"*{PART_SUFFIX}")):
        table = read_part(part, (PATH, MODEL), fingerprint)
        kind = (table.schema.metadata or {}).get(b"rows", b"").decode()
        if kind and kind != _name_rows(by_window):
            raise SingerVerifyError(
                f"{part}: has a row for each of its {kind}, where one for each of the {_name_rows(by_window)} is "
                f"wanted; embed into another folder."
            )
        paths.update(table[PATH].to_pylist())
    return paths


def read_part(path: Path, columns: Collection[str], fingerprint: str) -> "pa.Table":
    """Read columns of a part; nothing in it is executed.

    Args:
        path: a Parquet file.
        columns: columns to read; `content`, and the times, are read where they are there.
        fingerprint: fingerprint of the model; empty takes any.

    Raises:
        SingerVerifyError: not a whole Parquet file, a column is missing or of another type, or another model's.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    optional = {CONTENT, START, END}
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            if absent := [name for name in columns if name not in names and name not in optional]:
                raise SingerVerifyError(
                    f"{path}: has no column {' or '.join(absent)}; its columns are {', '.join(names)}; expected "
                    f"{', '.join(name for name in columns if name not in optional)}."
                )
            table = file.read([name for name in columns if name in names])
    except (pa.ArrowException, OSError) as error:
        raise SingerVerifyError(
            f"{path}: is damaged, cut short or not a Parquet file ({str(error).splitlines()[0]}); delete it and embed "
            f"its files again."
        ) from error
    for name in {PATH, MODEL, SINGER, CONTENT} & set(table.column_names):
        kind = table.schema.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_null(kind) and name in (SINGER, CONTENT):
            continue
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise SingerVerifyError(f"{path}: its column {name} is {kind}; expected text.")
        if table[name].null_count and name in (PATH, MODEL):
            raise SingerVerifyError(f"{path}: its column {name} is empty in some rows; expected text in every row.")
    if MODEL in table.column_names and fingerprint:
        import pyarrow.compute as pc

        if others := set(pc.unique(table[MODEL]).to_pylist()) - {fingerprint}:
            raise SingerVerifyError(
                f"{path}: was made with another model ({min(others)[:8]}…, not {fingerprint[:8]}…), whose embeddings "
                f"cannot be compared with this one's; give that model, or embed its files again."
            )
    return table


def read_part_embeddings(table: "pa.Table", path: Path) -> Float[np.ndarray, "rows embedding"]:
    """Return the embeddings of a part as rows of unit length.

    Raises:
        SingerVerifyError: they are not lists of numbers of one length, or not of unit length.
    """
    import pyarrow as pa

    kind = table.schema.field(EMBEDDING).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    column = table[EMBEDDING].combine_chunks()
    if not is_list or not pa.types.is_floating(kind.value_type) or column.null_count:
        raise SingerVerifyError(f"{path}: its column {EMBEDDING} is {kind}; expected a list of floats in every row.")
    values = column.flatten()
    size, rest = divmod(len(values), max(len(column), 1))
    lengths = (
        {size} if pa.types.is_fixed_size_list(kind) else set(np.unique(column.value_lengths().to_numpy()).tolist())
    )
    rows = (
        values.to_numpy(zero_copy_only=False).astype(np.float32, copy=False).reshape(-1, size or 1)
        if not rest
        else None
    )
    if rows is None or (len(column) and lengths != {size}):
        raise SingerVerifyError(f"{path}: its embeddings differ in length; expected those of one model.")
    norms = np.linalg.norm(rows, axis=1)
    if not (np.abs(norms - 1.0) < UNIT_NORM_TOLERANCE).all():  # NaN, too
        raise SingerVerifyError(
            f"{path}: its embeddings have norms from {norms.min():.3g} to {norms.max():.3g}; expected unit length."
        )
    return rows


def _write_part(path: Path, recordings: Sequence[RecordingEmbedding], fingerprint: str, by_window: bool) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = list(_iterate_rows(recordings, by_window))
    paths, starts, ends, contents, embeddings = zip(*rows, strict=True)
    size = len(embeddings[0])
    values = pa.array(np.concatenate(embeddings).astype(np.float32, copy=False))
    table = pa.table(
        {
            PATH: pa.array(paths, pa.string()),
            START: pa.array(starts, pa.float64()),
            END: pa.array(ends, pa.float64()),
            CONTENT: pa.array(contents, pa.string()),
            EMBEDDING: pa.FixedSizeListArray.from_arrays(values, size),
            MODEL: pa.array([fingerprint] * len(rows), pa.string()),
        },
        metadata={"rows": _name_rows(by_window)},
    )
    with atomic_write(path, "--out") as part:
        pq.write_table(table, part, compression="zstd", use_dictionary=[MODEL], write_page_checksum=True)


def _iterate_rows(
    recordings: Iterable[RecordingEmbedding], by_window: bool
) -> Iterator[tuple[str, float, float, str | None, np.ndarray]]:
    for recording in recordings:
        content = None if recording.content == NO_CONTENT else format_content(recording.content)
        if not by_window:
            yield recording.name, 0.0, recording.seconds, content, recording.embedding
            continue
        times = zip(recording.starts_s.tolist(), recording.ends_s.tolist(), strict=True)
        for (start_s, end_s), window in zip(times, recording.windows, strict=True):
            yield recording.name, start_s, end_s, content, window


def _count_parts(folder: Path, stem: str) -> int:
    """Return the number of the next part of a shard, which follows all that are there."""
    numbers = [part.stem.removeprefix(f"{stem}-") for part in folder.glob(f"{stem}-*{PART_SUFFIX}")]
    return 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)


def _name_rows(by_window: bool) -> str:
    return "windows" if by_window else "recordings"
