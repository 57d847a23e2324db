"""The file of a gallery of very many recordings: a SQLite database, changed in place and whole after any kill.

An `.npz` gallery is read and written as a whole. Here recordings are added or removed in a transaction, singers are
read alone, and several processes may write. Every row has a checksum. Nothing in the file is executed.
"""

import json
import sqlite3
import uuid
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from singer_verify.atomic_files import require_output_path
from singer_verify.corpora.names import normalise_name
from singer_verify.errors import SingerVerifyError
from singer_verify.inference.enrolment import EnrolledRecording, EnrolmentResult, describe_copy

STORE_SUFFIX = ".sqlite"
APPLICATION_ID, FORMAT = 0x53474C59, "1"
BUSY_TIMEOUT_S = 60.0
CACHE_KB = 65_536
ROWS_PER_READ = 10_000
SCHEMA = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # AUTOINCREMENT: the number of a singer who was removed is never another's; `revision` is that of the last change
    "CREATE TABLE singers (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, labels TEXT NOT NULL, "
    "revision INTEGER NOT NULL)",
    "CREATE TABLE recordings (id INTEGER PRIMARY KEY, singer INTEGER NOT NULL REFERENCES singers, "
    "recording TEXT NOT NULL, content TEXT NOT NULL UNIQUE, embedding BLOB NOT NULL, checksum INTEGER NOT NULL)",
    "CREATE INDEX recordings_by_singer ON recordings (singer)",
)


class StoredRows(NamedTuple):
    """Embeddings of whole singers, one singer after another.

    Attributes:
        singer_ids: (rows,), number of the singer of each.
        embeddings: (rows, embedding), in the order of enrolment of each singer.
    """

    singer_ids: Int[np.ndarray, " rows"]
    embeddings: Float[np.ndarray, "rows embedding"]


def is_store_path(path: Path) -> bool:
    """Return whether a gallery is such a database, by its name."""
    return path.suffix == STORE_SUFFIX


class GalleryStore:
    """Recordings of singers in a database.

        with GalleryStore.open(Path("choir.sqlite")) as store:
            store.remove("anna")

    Args:
        path: path of the file.
        connection: connection to it.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path, self.connection = path, connection
        facts = dict(connection.execute("SELECT name, value FROM facts"))
        self._counts: tuple[int, int, int] | None = None
        self.fingerprint, self.identity = str(facts["fingerprint"]), str(facts["identity"])

    def __enter__(self) -> "GalleryStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    @classmethod
    def create(cls, path: Path, fingerprint: str) -> "GalleryStore":
        """Create an empty gallery, or open the one that another process created meanwhile.

        Raises:
            SingerVerifyError: it cannot be written, or see `open`.
        """
        require_output_path(path)
        facts = {"format": FORMAT, "fingerprint": fingerprint, "identity": uuid.uuid4().hex, "revision": "0"}
        with _report_errors(path):
            connection = _connect(path)
            try:
                connection.execute("BEGIN IMMEDIATE")
                if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    for statement in SCHEMA:
                        connection.execute(statement)
                    connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
                    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute("COMMIT")
            finally:
                connection.close()
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "GalleryStore":
        """Open a gallery; what a kill left half done in it is undone.

        Raises:
            SingerVerifyError: no such file, not a gallery, cut short or damaged, or of another version.
        """
        if path.is_dir():
            raise SingerVerifyError(f"{path}: is a folder; expected a gallery, which singer-verify enrol creates.")
        if not path.is_file():
            raise SingerVerifyError(f"{path}: no such gallery; singer-verify enrol or gallery --import creates one.")
        with _report_errors(path):
            connection = _connect(path)
            try:
                made = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
                identity = connection.execute("PRAGMA application_id").fetchone()[0]
                known = {statement for (statement,) in made if not statement.startswith("CREATE TABLE sqlite_")}
                pages = connection.execute("PRAGMA page_count").fetchone()[0]
                if pages * connection.execute("PRAGMA page_size").fetchone()[0] > path.stat().st_size:
                    raise sqlite3.DatabaseError("its last page is not whole")
                if identity != APPLICATION_ID or known != set(SCHEMA):
                    raise SingerVerifyError(f"{path}: is not a gallery; singer-verify enrol creates one.")
                found = connection.execute("SELECT value FROM facts WHERE name = 'format'").fetchone()[0]
                if found != FORMAT:
                    raise SingerVerifyError(f"{path}: has format {found}; this version reads {FORMAT}; enrol again.")
                return cls(path, connection)
            except BaseException:
                connection.close()
                raise

    @property
    def revision(self) -> int:
        """Number of changes so far."""
        with _report_errors(self.path):
            return int(self.connection.execute("SELECT value FROM facts WHERE name = 'revision'").fetchone()[0])

    def count(self) -> tuple[int, int]:
        """Count singers and recordings; a second time only after a change."""
        revision = self.revision
        if self._counts is not None and self._counts[0] == revision:
            return self._counts[1:]
        with _report_errors(self.path):
            counted = "SELECT (SELECT count(*) FROM singers), (SELECT count(*) FROM recordings)"
            singers, recordings = self.connection.execute(counted).fetchone()
        self._counts = revision, int(singers), int(recordings)
        return self._counts[1:]

    def add(self, recordings: Iterable[EnrolledRecording]) -> EnrolmentResult:
        """Add recordings in one transaction; those that are enrolled already are left out with a remark.

        Raises:
            SingerVerifyError: embeddings of another length than those in the gallery, or it cannot be written.
        """
        added, remarks = [], []
        with self._change() as (cursor, revision):
            size = self._embedding_size(cursor)
            ids: dict[str, int] = {}
            for recording in recordings:
                size = size or len(recording.embedding)
                if len(recording.embedding) != size:
                    raise SingerVerifyError(
                        f"{self.path}: {recording.recording} has an embedding of {len(recording.embedding)} values, "
                        f"and those of the gallery have {size}; expected those of one model."
                    )
                before = cursor.execute(
                    "SELECT name, recording FROM recordings JOIN singers ON singers.id = singer WHERE content = ?",
                    (recording.content,),
                ).fetchone()
                if before is not None:
                    remarks.append(describe_copy(recording, *before))
                    continue
                if recording.singer not in ids:
                    ids[recording.singer] = self._touch_singer(cursor, recording.singer, revision)
                blob = np.ascontiguousarray(recording.embedding, np.float32).tobytes()
                row = (ids[recording.singer], recording.recording, recording.content, blob)
                cursor.execute(
                    "INSERT INTO recordings (singer, recording, content, embedding, checksum) VALUES (?, ?, ?, ?, ?)",
                    (*row, _compute_checksum(recording.singer, *row[1:])),
                )
                added.append(recording.recording)
        return EnrolmentResult(tuple(added), tuple(remarks))

    def remove(self, singer: str, recording: str | None = None) -> tuple[str, ...]:
        """Remove a singer, or one recording, in one transaction; return what was removed.

        Raises:
            SingerVerifyError: no such singer, or no such recording of the singer, or it cannot be written.
        """
        with self._change() as (cursor, revision):
            held = self.read_names(singer)
            gone = [
                (number, name)
                for number, name in held
                if recording is None or normalise_name(name) == normalise_name(recording)
            ]
            if not gone:
                listed = ", ".join(name for _, name in held[:10]) + ", …" * (len(held) > 10)
                raise SingerVerifyError(f"{recording}: is not a recording of {singer}; enrolled are {listed}.")
            cursor.executemany("DELETE FROM recordings WHERE id = ?", [(number,) for number, _ in gone])
            name = normalise_name(singer)
            cursor.execute("UPDATE singers SET revision = ? WHERE name = ?", (revision, name))
            if len(gone) == len(held):
                cursor.execute("DELETE FROM singers WHERE name = ?", (name,))
        return tuple(name for _, name in gone)

    def set_labels(self, labels: Mapping[str, Mapping[str, str]]) -> None:
        """Replace the labels of singers who are enrolled."""
        with self._change() as (cursor, _):
            rows = [(json.dumps(dict(values)) if values else "", singer) for singer, values in labels.items()]
            cursor.executemany("UPDATE singers SET labels = ?1 WHERE name = ?2 AND labels != ?1", rows)

    def read_labels(self) -> dict[str, dict[str, str]]:
        """Read the labels of the singers who have some."""
        with _report_errors(self.path):
            rows = self.connection.execute("SELECT name, labels FROM singers WHERE labels != ''").fetchall()
        try:
            return {name: {str(label): str(value) for label, value in json.loads(text).items()} for name, text in rows}
        except (ValueError, AttributeError) as error:
            raise SingerVerifyError(f"{self.path}: its labels are damaged; enrol again.") from error

    def read_names(self, singer: str) -> list[tuple[int, str]]:
        """Read the numbers and names of the recordings of a singer, in the order of enrolment.

        Raises:
            SingerVerifyError: no such singer.
        """
        query = (
            "SELECT id, recording FROM recordings WHERE singer = (SELECT id FROM singers WHERE name = ?) ORDER BY id"
        )
        with _report_errors(self.path):
            found = self.connection.execute(query, (normalise_name(singer),)).fetchall()
        if not found:
            num_singers, _ = self.count()
            raise SingerVerifyError(f"{singer}: is not in the gallery, which has {num_singers} singers.")
        return found

    def read_singer_names(self) -> tuple[str, ...]:
        """Read the names of all singers, in alphabetical order."""
        with _report_errors(self.path):
            return tuple(sorted(name for (name,) in self.connection.execute("SELECT name FROM singers")))

    def list_recordings(self) -> dict[str, list[str]]:
        """List the recordings of each singer, in alphabetical order of the singers and in the order of enrolment."""
        listed: dict[str, list[str]] = {singer: [] for singer in self.read_singer_names()}
        query = "SELECT name, recording FROM recordings JOIN singers ON singers.id = singer ORDER BY recordings.id"
        with _report_errors(self.path):
            for singer, recording in self.connection.execute(query):
                listed[singer].append(recording)
        return listed

    def read_contents(self) -> dict[tuple[str, str], str]:
        """Read the content of each recording, by its singer and name."""
        query = "SELECT name, recording, content FROM recordings JOIN singers ON singers.id = singer"
        with _report_errors(self.path):
            return {(name, recording): content for name, recording, content in self.connection.execute(query)}

    def read_singer_ids(self, since: int = -1) -> Int[np.ndarray, " singers"]:
        """Read the numbers of the singers that were changed after a revision, or of all."""
        with _report_errors(self.path):
            rows = self.connection.execute("SELECT id FROM singers WHERE revision > ? ORDER BY id", (since,)).fetchall()
        return np.array([number for (number,) in rows], np.int64)

    def find_recording(self, content: str) -> EnrolledRecording | None:
        """Find the recording that sounds like this."""
        return next(iter(self._read("content = ?", [content])), None)

    def read_recordings(self, singer_ids: Iterable[int] | None = None) -> list[EnrolledRecording]:
        """Read the recordings of singers, or all of them, in the order of enrolment.

        Raises:
            SingerVerifyError: a row is damaged.
        """
        if singer_ids is None:
            return list(self._read("TRUE", [], "recordings.id"))
        chosen, rows = list(map(int, singer_ids)), list[EnrolledRecording]()
        for first in range(0, len(chosen), 500):
            part = chosen[first : first + 500]
            rows += self._read(f"singer IN ({','.join('?' * len(part))})", part)
        return rows

    def read_singer(self, singer: str) -> list[EnrolledRecording]:
        """Read the recordings of a singer.

        Raises:
            SingerVerifyError: no such singer.
        """
        self.read_names(singer)
        return list(self._read("singers.name = ?", [normalise_name(singer)]))

    def iterate_embeddings(self) -> Iterator[StoredRows]:
        """Yield all embeddings, singer by singer and some singers at a time."""
        held: list[tuple[int, bytes]] = []
        query = "SELECT singer, name, recording, content, embedding, checksum FROM recordings JOIN singers ON "
        query += "singers.id = singer ORDER BY singer, recordings.id"
        with _report_errors(self.path):
            for singer, *row, checksum in self.connection.execute(query):
                self._require_intact(row, checksum)
                if len(held) >= ROWS_PER_READ and singer != held[-1][0]:
                    yield _stack_rows(held)
                    held.clear()
                held.append((singer, row[-1]))
        if held:
            yield _stack_rows(held)

    def _read(
        self, condition: str, values: Collection[Any], order: str = "singer, recordings.id"
    ) -> Iterator[EnrolledRecording]:
        query = "SELECT name, recording, content, embedding, checksum FROM recordings JOIN singers ON "
        query += f"singers.id = singer WHERE {condition} ORDER BY {order}"
        with _report_errors(self.path):
            for *row, checksum in self.connection.execute(query, list(values)):
                self._require_intact(row, checksum)
                name, recording, content, blob = row
                yield EnrolledRecording(name, recording, content, np.frombuffer(blob, np.float32))

    def _require_intact(self, row: list[Any], checksum: int) -> None:
        if not isinstance(row[-1], bytes) or _compute_checksum(*row) != checksum:
            raise SingerVerifyError(
                f"{self.path}: {row[1]} does not agree with its checksum; it is damaged: enrol again."
            )

    @contextmanager
    def _change(self) -> Iterator[tuple[sqlite3.Cursor, int]]:
        """Change the gallery in one transaction, which gets the next revision."""
        with _report_errors(self.path):
            cursor = self.connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                revision = self.revision + 1
                yield cursor, revision
                cursor.execute("UPDATE facts SET value = ? WHERE name = 'revision'", (str(revision),))
                cursor.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    cursor.execute("ROLLBACK")
                raise

    def _touch_singer(self, cursor: sqlite3.Cursor, singer: str, revision: int) -> int:
        cursor.execute(
            "INSERT INTO singers (name, labels, revision) VALUES (?, '', ?) "
            "ON CONFLICT (name) DO UPDATE SET revision = excluded.revision",
            (singer, revision),
        )
        return int(cursor.execute("SELECT id FROM singers WHERE name = ?", (singer,)).fetchone()[0])

    def _embedding_size(self, cursor: sqlite3.Cursor) -> int:
        row = cursor.execute("SELECT length(embedding) FROM recordings LIMIT 1").fetchone()
        return 0 if row is None else int(row[0]) // 4


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
    return connection


@contextmanager
def _report_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise SingerVerifyError(
            f"{path}: cannot be read or written ({error}); wait for other processes, or free some space, or give "
            f"another path."
        ) from error
    except sqlite3.Error as error:
        raise SingerVerifyError(
            f"{path}: is cut short, damaged or not a gallery ({error}), and was not loaded; enrol again."
        ) from error


def _compute_checksum(singer: str, recording: str, content: str, embedding: bytes) -> int:
    return zlib.crc32(embedding, zlib.crc32("\0".join((singer, recording, content)).encode()))


def _stack_rows(rows: list[tuple[int, bytes]]) -> StoredRows:
    ids = np.array([singer for singer, _ in rows], np.int64)
    return StoredRows(ids, np.frombuffer(b"".join(blob for _, blob in rows), np.float32).reshape(len(rows), -1))
