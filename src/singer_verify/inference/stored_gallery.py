"""Galleries of very many recordings: found by a FAISS index, scored by the same engine as small ones.

The index only makes a shortlist. The singers on it are scored from their recordings, as a small gallery scores them, so
that scores, thresholds and probabilities are the same; what the index can do wrong is to leave the right singer out.
"""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from singer_verify.atomic_files import atomic_write
from singer_verify.audio.clip import AudioClip
from singer_verify.errors import SingerVerifyError, format_installation
from singer_verify.evaluation.averaging import average_by_group
from singer_verify.evaluation.scoring.scoring import COSINE, ENROLMENT_SCORES, Scoring
from singer_verify.inference.enrolment import (
    EnrolledRecording,
    EnrolledSingers,
    EnrolmentResult,
    build_enrolled_singers,
    prepare_singers,
)
from singer_verify.inference.gallery import Gallery
from singer_verify.inference.gallery_file import require_same_model
from singer_verify.inference.gallery_store import GalleryStore
from singer_verify.inference.identification import IdentificationResult, rank_candidates
from singer_verify.inference.model import Model
from singer_verify.npz import ARRAY_READ_ERRORS, read_npz

log = logging.getLogger(__name__)
INDEX_FORMAT = 1
MIN_INDEXED_RECORDINGS = 20_000  # fewer are all scored, which takes a few milliseconds
MAX_CHANGED_SHARE = 0.05  # of the recordings, before the index is built anew
NUM_SHORTLISTED_SIDES = 300
NUM_SHORTLISTED_SINGERS, MAX_SHORTLISTED_RECORDINGS = 50, 2000
MIN_SHORTLISTED_SINGERS = 10
MAX_SEARCHED_SIDES = 120_000  # of very many, those in the nearest lists only
LISTS_PER_ROOT = 4.0  # number of lists in terms of the root of the number of sides
TRAINING_ROWS_PER_LIST, TRAINING_ITERATIONS = 40, 8
NUM_PROBES, PROBE_DECIMALS = 4, 3


@dataclass(frozen=True)
class SingerIndex:
    """An index of singers' means, or of recordings where singers are scored by the best of theirs.

    Attributes:
        index: an index of FAISS, with 8 bits for each value.
        singer_ids: (sides,), singer of each side.
        num_recordings: (sides,), number of recordings of that singer.
        revision: revision of the gallery that it was built from.
    """

    index: Any
    singer_ids: Int[np.ndarray, " sides"]
    num_recordings: Int[np.ndarray, " sides"]
    revision: int

    def find_singers(self, query: Float[np.ndarray, " projected"]) -> list[int]:
        """Find the singers that are likeliest for a prepared query, best first, with not too many recordings."""
        _, found = self.index.search(np.ascontiguousarray(query[None], np.float32), NUM_SHORTLISTED_SIDES)
        singers, num_recordings = list[int](), 0
        seen = set[int]()
        for side in found[0][found[0] >= 0].tolist():
            singer = int(self.singer_ids[side])
            if singer in seen:
                continue
            num_recordings += int(self.num_recordings[side])
            if len(singers) >= MIN_SHORTLISTED_SINGERS and num_recordings > MAX_SHORTLISTED_RECORDINGS:
                break
            seen.add(singer)
            singers.append(singer)
        return singers[:NUM_SHORTLISTED_SINGERS]


class StoredGallery(Gallery):
    """A gallery in a database, changed in place: what `add` and `remove` did is written when they return.

        gallery = Gallery.load("choir.sqlite", model, scoring)     # a StoredGallery
        gallery.identify("who.wav").best

    `identify` takes an index where there are very many recordings: it is built when it is first needed, and kept in a
    file beside the database; singers who were changed since are scored besides. `identify(..., exact=True)` scores all.

    Args:
        model: the model.
        scoring: scoring of its embeddings.
        store: the database.
    """

    def __init__(self, model: Model, scoring: Scoring, store: GalleryStore) -> None:
        self.model, self.scoring, self.store = model, scoring, store
        self.labels = store.read_labels()
        self._everyone: tuple[int, EnrolledSingers] | None = None
        self._index: SingerIndex | None = None
        self._changed: tuple[int, frozenset[int], EnrolledSingers | None] | None = None

    def __repr__(self) -> str:
        singers, recordings = self.store.count()
        return f"StoredGallery({self.store.path}, {singers} singers, {recordings} recordings, {self.model!r})"

    @classmethod
    def open(cls, path: Path, model: Model, scoring: Scoring = COSINE) -> "StoredGallery":
        """Open an existing gallery.

        Raises:
            SingerVerifyError: no such file, not a gallery, damaged, or made with another model.
        """
        store = GalleryStore.open(path)
        require_same_model(path, store.fingerprint, model)
        return cls(model, scoring, store)

    @classmethod
    def create(cls, path: Path, model: Model, scoring: Scoring = COSINE) -> "StoredGallery":
        """Open a gallery, which is created if it does not exist.

        Raises:
            SingerVerifyError: as of `open`, or it cannot be written, or the model was not loaded from a file.
        """
        if not model.fingerprint:
            raise SingerVerifyError(f"{path}: its model was not loaded from a file; use load_model.")
        GalleryStore.create(path, model.fingerprint).connection.close()
        return cls.open(path, model, scoring)

    def save(self, path: str | Path) -> None:
        """Write the labels; recordings are written already.

        Raises:
            SingerVerifyError: another path, or it cannot be written.
        """
        if Path(path) != self.store.path:
            raise SingerVerifyError(f"{path}: expected {self.store.path}, the file of this gallery.")
        before = self.store.read_labels()
        changed = {singer: values for singer, values in self.labels.items() if values != before.get(singer, {})}
        if changed:
            self.store.set_labels(changed)

    @property
    def enrolled(self) -> list[EnrolledRecording]:  # type: ignore[override]
        """All recordings, in the order of enrolment; read anew each time."""
        return self.store.read_recordings()

    @property
    def singers(self) -> tuple[str, ...]:
        """Names in alphabetical order."""
        return self.store.read_singer_names()

    @property
    def num_singers(self) -> int:
        """Number of enrolled singers."""
        return self.store.count()[0]

    def find_recordings(self, singer: str) -> tuple[EnrolledRecording, ...]:
        """Return the recordings of a singer with their embeddings, see `Gallery.find_recordings`."""
        return tuple(self.store.read_singer(singer))

    def find_copy(self, content: str) -> EnrolledRecording | None:
        """Return the recording that sounds like one of this content; None if none does."""
        return self.store.find_recording(content)

    def find_file_hashes(self) -> set[str]:
        """Return none: no earlier version enrolled into a database."""
        return set()

    def find_owners(self, contents: Iterable[str]) -> dict[str, str]:
        """Return the singers of the recordings of these contents, see `Gallery.find_owners`."""
        copies = map(self.store.find_recording, contents)
        return {copy.content: copy.singer for copy in copies if copy is not None}

    def count_recordings(self) -> dict[str, int]:
        """Count the recordings of each singer."""
        return {singer: len(recordings) for singer, recordings in self.store.list_recordings().items()}

    def find_contents(self) -> dict[tuple[str, str], str]:
        """Return the content of each recording, by its singer and name."""
        return self.store.read_contents()

    def add(self, recordings: Iterable[EnrolledRecording]) -> EnrolmentResult:
        """Add what `embed_recordings` returned, see `Gallery.add`."""
        return self.store.add(recordings)

    def remove(self, singer: str, recording: str | None = None) -> tuple[str, ...]:
        """Remove a singer, or one of the singer's recordings, see `Gallery.remove`."""
        return self.store.remove(singer, recording)

    def known(self) -> EnrolledSingers:
        """Prepare all singers for scoring; kept until the gallery changes.

        Raises:
            SingerVerifyError: nobody is enrolled.
        """
        revision = self.store.revision
        if self._everyone is None or self._everyone[0] != revision:
            self._everyone = None  # before the next is read: not two at once in memory
            self._everyone = revision, self._prepare_everyone()
        return self._everyone[1]

    def identify(
        self,
        recording: str | Path | AudioClip | Num[np.ndarray, " samples *channels"],
        sample_rate: int | None = None,
        prior: float | None = None,
        exact: bool = False,
    ) -> IdentificationResult:
        """Find which enrolled singer sings, see `Gallery.identify`.

        Args:
            recording: see `Model.embed`.
            sample_rate: sample rate of an array of samples, in Hz.
            prior: probability of each singer before the recording is scored; see `verify`.
            exact: score all singers, without an index.

        Returns:
            The likeliest fifty candidates.
        """
        self._require_singers()
        embedded = self.model.embed_windows(recording, sample_rate)
        return self.rank(embedded.embedding, prior, self._remark_enrolled(embedded), exact)

    def rank(
        self,
        embedding: Float[np.ndarray, " embedding"],
        prior: float | None = None,
        remarks: tuple[str, ...] = (),
        exact: bool = False,
    ) -> IdentificationResult:
        """Rank the likeliest fifty singers for an embedding, see `rank_candidates`.

        Args:
            embedding: embedding of a recording, of unit length.
            prior: see `identify`.
            remarks: earlier remarks.
            exact: see `identify`.
        """
        _, num_recordings = self._require_singers()
        if exact or num_recordings < MIN_INDEXED_RECORDINGS:
            known = self.known()
        else:
            known = build_enrolled_singers(self.store.read_recordings(self._find_shortlist(embedding)), self.scoring)
        return rank_candidates(self.scoring, known, embedding, prior, remarks, NUM_SHORTLISTED_SINGERS)

    def _require_singers(self) -> tuple[int, int]:
        singers, recordings = self.store.count()
        if not recordings:
            raise SingerVerifyError("the gallery is empty; enrol a singer first.")
        return singers, recordings

    def _prepare_everyone(self) -> EnrolledSingers:
        singer_ids, embeddings = self._read_everything()
        if not len(singer_ids):
            raise SingerVerifyError("the gallery is empty; enrol a singer first.")
        ids = self.store.connection.execute("SELECT id, name FROM singers ORDER BY name").fetchall()
        ids.sort(key=lambda pair: pair[1])
        places = np.full(max(number for number, _ in ids) + 1, -1)
        places[[number for number, _ in ids]] = np.arange(len(ids))
        return prepare_singers(tuple(name for _, name in ids), places[singer_ids], embeddings, self.scoring)

    def _read_everything(self) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "rows embedding"]]:
        """Read the singers and embeddings of all recordings, once in memory."""
        _, num_recordings = self.store.count()
        singer_ids, embeddings, first = np.zeros(num_recordings, np.int64), np.zeros((0, 0), np.float32), 0
        for part in self.store.iterate_embeddings():
            if not len(embeddings):
                embeddings = np.empty((num_recordings, part.embeddings.shape[1]), np.float32)
            rows = slice(first, first + len(part.singer_ids))
            singer_ids[rows], embeddings[rows] = part
            first = rows.stop
        return singer_ids, embeddings

    def _find_shortlist(self, embedding: Float[np.ndarray, " embedding"]) -> list[int]:
        """Find the singers to score: those of the index, and the likeliest of those who changed since it was built."""
        index = self._get_index()
        query = self.scoring.prepare_embeddings(embedding[None])
        changed, newcomers = self._get_changed(index)
        shortlist = [singer for singer in index.find_singers(query.embeddings[0]) if singer not in changed]
        if newcomers is not None:
            scores = newcomers.compute_scores(self.scoring, query)[0]
            best = np.argsort(-scores)[:NUM_SHORTLISTED_SINGERS]
            shortlist += [int(newcomers.names[place]) for place in best.tolist()]
        return shortlist

    def _get_changed(self, index: SingerIndex) -> tuple[frozenset[int], EnrolledSingers | None]:
        revision = self.store.revision
        if self._changed is None or self._changed[0] != revision:
            ids = self.store.read_singer_ids(since=index.revision).tolist()
            newcomers = None
            if ids:
                parts = [(number, row) for number in ids for row in self.store.read_recordings([number])]
                names, groups = np.unique([str(number) for number, _ in parts], return_inverse=True)
                rows = np.stack([row.embedding for _, row in parts])
                newcomers = prepare_singers(tuple(names.tolist()), groups, rows, self.scoring)
            self._changed = revision, frozenset(ids), newcomers
        return self._changed[1:]

    def _get_index(self) -> SingerIndex:
        """Return the index: the one in memory, that of the file beside the database, or a new one."""
        if self._index is not None and not self._is_outdated(self._index):
            return self._index
        path = self.store.path.with_name(f"{self.store.path.name}.{self._describe_index()[:12]}.index.npz")
        self._index = self._changed = None  # before the next is built: not two at once in memory
        self._index = self._read_index(path)
        if self._index is None or self._is_outdated(self._index):
            self._index = None
            self._index = self._build_index()
            self._write_index(path, self._index)
        return self._index

    def _is_outdated(self, index: SingerIndex) -> bool:
        if index.revision > (revision := self.store.revision):
            return True
        if self._changed is not None and self._changed[0] == revision:
            return False
        query = "SELECT count(*) FROM recordings WHERE singer IN (SELECT id FROM singers WHERE revision > ?)"
        num_changed = self.store.connection.execute(query, (index.revision,)).fetchone()[0]
        return num_changed > MAX_CHANGED_SHARE * self.store.count()[1]

    def _describe_index(self) -> str:
        """Return what is the same for scorings that can share an index: the database, and what they project to."""
        is_mean = ENROLMENT_SCORES[self.scoring.enrolment_score] is None
        size = self.model.embedding_size
        probes = np.random.default_rng(0).standard_normal((NUM_PROBES, size)).astype(np.float32)
        probes /= np.linalg.norm(probes, axis=1, keepdims=True)
        projected = self.scoring.prepare_embeddings(probes).embeddings.round(PROBE_DECIMALS) + 0.0
        digest = hashlib.sha256(f"{INDEX_FORMAT} {self.store.identity} {is_mean} {projected.shape}".encode())
        digest.update(np.ascontiguousarray(projected, np.float32).tobytes())
        return digest.hexdigest()

    def _build_index(self) -> SingerIndex:
        faiss = _import_faiss()
        revision = self.store.revision
        singer_ids, embeddings = self._read_everything()
        sides = self.scoring.prepare_embeddings(embeddings).embeddings
        del embeddings
        ids, groups, counts = np.unique(singer_ids, return_inverse=True, return_counts=True)
        if ENROLMENT_SCORES[self.scoring.enrolment_score] is None:
            sides, singer_ids, counts = average_by_group(sides, groups), ids, counts
        else:
            counts = counts[groups]
        log.info("%s: building an index of %d rows.", self.store.path, len(sides))
        num_lists = round(LISTS_PER_ROOT * len(sides) ** 0.5) if len(sides) > MAX_SEARCHED_SIDES else 1
        kind = f"IVF{num_lists},SQ8" if num_lists > 1 else "SQ8"
        index = faiss.index_factory(sides.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        if num_lists > 1:
            index.cp.niter, index.cp.seed = TRAINING_ITERATIONS, 0
            index.cp.max_points_per_centroid = TRAINING_ROWS_PER_LIST
        drawn = np.random.default_rng(0).permutation(len(sides))[: TRAINING_ROWS_PER_LIST * max(num_lists, 1000)]
        index.train(np.ascontiguousarray(sides[np.sort(drawn)], np.float32))
        index.add(np.ascontiguousarray(sides, np.float32))
        _limit_search(index)
        return SingerIndex(index, singer_ids, counts, revision)

    def _write_index(self, path: Path, built: SingerIndex) -> None:
        """Keep the index in a file; where that is not possible, the next process builds it again."""
        arrays = {"key": np.array(self._describe_index()), "revision": np.array(built.revision)}
        arrays |= {"singer_ids": built.singer_ids, "num_recordings": built.num_recordings}
        try:
            with atomic_write(path) as part, open(part, "wb") as file:
                np.savez(file, index=_import_faiss().serialize_index(built.index), **arrays)  # type: ignore[arg-type]
        except SingerVerifyError as error:
            log.warning("%s The index is not kept.", error)

    def _read_index(self, path: Path) -> SingerIndex | None:
        """Read the index from its file; None where there is none, or it is damaged, which a new one replaces."""
        if not path.is_file():
            return None
        faiss = _import_faiss()
        try:
            arrays = read_npz(path)
            if str(arrays["key"]) != self._describe_index():
                return None
            index = faiss.deserialize_index(arrays["index"])
            _limit_search(index)
            read = SingerIndex(index, arrays["singer_ids"], arrays["num_recordings"], int(arrays["revision"]))
            return read if len(read.singer_ids) == len(read.num_recordings) == index.ntotal else None
        except ARRAY_READ_ERRORS:
            log.warning("%s: is damaged, and is built again.", path)
            return None


def _limit_search(index: Any) -> None:
    """Let an index with lists search so many of them as hold `MAX_SEARCHED_SIDES`."""
    if hasattr(index, "nlist"):
        index.nprobe = max(1, round(index.nlist * MAX_SEARCHED_SIDES / index.ntotal))


def _import_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise SingerVerifyError(
            f"an index of very many recordings needs faiss, which cannot be imported ({error}); install it with "
            f"{format_installation('catalogue')}, or score all singers with --exact."
        ) from error
    return faiss
