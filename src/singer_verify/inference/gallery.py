"""Galleries: enrolled singers, to be identified and verified by the embeddings of their recordings."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from jaxtyping import Num

from singer_verify.atomic_files import atomic_write, require_output_path
from singer_verify.audio.clip import AudioClip
from singer_verify.audio.content import NO_CONTENT
from singer_verify.corpora.names import normalise_name
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.evaluation.scoring.scoring import COSINE, Scoring
from singer_verify.inference.enrolment import (
    RESERVED_NAMES,
    EnrolledRecording,
    EnrolledSingers,
    EnrolmentResult,
    build_enrolled_singers,
    compute_recording_sha256,
    describe_enrolment_mismatch,
    find_singer_recordings,
    format_content,
    is_valid_name,
    select_enrolled_recordings,
)
from singer_verify.inference.identification import IdentificationResult, rank_candidates
from singer_verify.inference.model import Model
from singer_verify.inference.verification import VerificationResult, decide_score
from singer_verify.inference.windows import RecordingEmbedding
from singer_verify.npz import ARRAY_READ_ERRORS, read_npz

GALLERY_FORMAT_VERSION = 1
STRING_ARRAYS = ("singers", "recordings", "contents")
GALLERY_ARRAYS = {"version", "fingerprint", *STRING_ARRAYS, "embeddings", "checksum"}
UNIT_NORM_TOLERANCE = 1e-3
NUM_FILE_HASH_DIGITS = 64


class Gallery:
    """Enrolled singers of a model.

        gallery = Gallery(load_model(Path("runs/first")))
        gallery.enrol("anna", [Path("anna1.wav"), Path("anna2.wav")])
        gallery.save(Path("choir.npz"))
        gallery = Gallery.load(Path("choir.npz"), model, scoring)
        gallery.identify(Path("who.wav")).best

    A singer is the mean of the projected embeddings of the singer's recordings. Processes that enrol into the same file
    use `gallery.lock_gallery`, so that none loses another's recordings.

    Args:
        model: the model; a gallery belongs to one.
        scoring: scoring of its embeddings.
        enrolled: enrolled recordings.
    """

    def __init__(self, model: Model, scoring: Scoring = COSINE, enrolled: Iterable[EnrolledRecording] = ()) -> None:
        self.model, self.scoring = model, scoring
        self.enrolled = list(enrolled)

    def __repr__(self) -> str:
        return f"Gallery({len(self.singers)} singers, {len(self.enrolled)} recordings, {self.model!r})"

    @classmethod
    def load(cls, path: str | Path, model: Model, scoring: Scoring = COSINE) -> "Gallery":
        """Load the file that `save` wrote.

        Raises:
            SingerVerifyError: no such file, not a gallery, damaged, or made with another model.
        """
        fingerprint, enrolled = read_gallery(Path(path))
        if fingerprint != model.fingerprint:
            raise SingerVerifyError(
                f"{path}: was made with another model, whose embeddings cannot be compared with this one's; give that "
                f"model, or enrol the recordings again with this one."
            )
        return cls(model, scoring, enrolled)

    def save(self, path: str | Path) -> None:
        """Write the whole gallery, or leave the existing file as it is: an `.npz` of plain arrays (see `gallery_file`).

        Raises:
            SingerVerifyError: it cannot be written, or the model was not loaded from a file.
        """
        if not self.model.fingerprint:
            raise SingerVerifyError(f"{path}: its model was not loaded from a file; use load_model.")
        write_gallery(Path(path), self.model.fingerprint, self.enrolled)

    @property
    def singers(self) -> tuple[str, ...]:
        """Names in alphabetical order."""
        return tuple(sorted({recording.singer for recording in self.enrolled}))

    def known(self) -> EnrolledSingers:
        """Average the recordings of each singer and prepare the means for scoring.

        Raises:
            SingerVerifyError: nobody is enrolled.
        """
        if not self.enrolled:
            raise SingerVerifyError("the gallery is empty; enrol a singer first.")
        return build_enrolled_singers(self.enrolled, self.scoring)

    def recordings(self, singer: str) -> tuple[str, ...]:
        """Return the recordings of a singer, in the order of enrolment.

        Raises:
            SingerVerifyError: no such singer.
        """
        return tuple(recording.recording for recording in find_singer_recordings(self.enrolled, singer))

    def enrol(self, singer: str, recordings: Iterable[str | Path | AudioClip]) -> EnrolmentResult:
        """Add recordings of a singer, a new or a known one.

        Recordings that cannot be used, or whose content is in the gallery already, are left out with a remark.

        Raises:
            SingerVerifyError: not a name, or none of the recordings can be used.
        """
        embedded, remarks = self.embed_recordings(singer, recordings)
        enrolment = self.add(embedded)
        return EnrolmentResult(enrolment.added, (*remarks, *enrolment.remarks))

    def embed_recordings(
        self, singer: str, recordings: Iterable[str | Path | AudioClip]
    ) -> tuple[tuple[EnrolledRecording, ...], tuple[str, ...]]:
        """Embed recordings of a singer for `add`, with remarks on them; the gallery stays as it is.

        Raises:
            SingerVerifyError: as of `enrol`.
        """
        singer = normalise_name(singer)
        if not is_valid_name(singer) or singer in RESERVED_NAMES:
            raise SingerVerifyError(
                f"singer {singer!r}: expected a name of up to 200 printable characters, other than "
                f"{' and '.join(RESERVED_NAMES)}, which stand for nobody."
            )
        enrolled: list[EnrolledRecording] = []
        remarks: list[str] = []
        for recording, embedded in self.model.embed_many(recordings):
            if isinstance(embedded, UtteranceError):
                remarks.append(str(embedded))
            else:
                content = self._describe_content(recording, embedded)
                enrolled.append(EnrolledRecording(singer, str(recording), content, embedded.embedding))
                remarks += embedded.remarks
        if not enrolled:
            raise SingerVerifyError(f"{singer}: none of the recordings can be used: {' '.join(remarks) or 'no files.'}")
        return tuple(enrolled), tuple(remarks)

    def _describe_content(self, recording: Path | AudioClip, embedded: RecordingEmbedding) -> str:
        """Return what is the same for recordings that sound the same.

        Earlier versions compared files by their bytes: a file that one of them enrolled is recognised by these.
        """
        enrolled_files = {other.content for other in self.enrolled if len(other.content) == NUM_FILE_HASH_DIGITS}
        if embedded.content == NO_CONTENT or enrolled_files:
            file_hash = compute_recording_sha256(recording)
            if embedded.content == NO_CONTENT or file_hash in enrolled_files:
                return file_hash
        return format_content(embedded.content)

    def _remark_enrolled(self, embedded: RecordingEmbedding) -> tuple[str, ...]:
        """Return the remarks on a recording, and one if it is enrolled itself, so that its score tells nothing."""
        content = format_content(embedded.content)
        same = next((other for other in self.enrolled if other.content == content), None)
        if same is None or embedded.content == NO_CONTENT:
            return embedded.remarks
        return (
            *embedded.remarks,
            f"{embedded.name}: is enrolled itself, as {same.recording} of {same.singer}; that score tells nothing.",
        )

    def add(self, recordings: Iterable[EnrolledRecording]) -> EnrolmentResult:
        """Add what `embed_recordings` returned; recordings that are enrolled already are left out with a remark."""
        added, remarks = [], []
        for recording in recordings:
            before = next((other for other in self.enrolled if other.content == recording.content), None)
            if before is None:
                self.enrolled.append(recording)
                added.append(recording.recording)
            else:
                same = before.singer == recording.singer
                owner = "" if same else f", as a recording of {before.singer}: remove it there"
                named = "" if before.recording == recording.recording else f" as {before.recording}"
                remarks.append(f"{recording.recording}: is in the gallery already{named}{owner}; left out.")
        return EnrolmentResult(tuple(added), tuple(remarks))

    def remove(self, singer: str, recording: str | None = None) -> tuple[str, ...]:
        """Remove a singer, or one of the singer's recordings; return what was removed.

        Raises:
            SingerVerifyError: no such singer, or no such recording of the singer.
        """
        gone = select_enrolled_recordings(self.enrolled, singer, recording)
        self.enrolled = [enrolled for enrolled in self.enrolled if not any(enrolled is other for other in gone)]
        return tuple(enrolled.recording for enrolled in gone)

    def identify(
        self,
        recording: str | Path | AudioClip | Num[np.ndarray, " samples *channels"],
        sample_rate: int | None = None,
        prior: float | None = None,
    ) -> IdentificationResult:
        """Find which enrolled singer sings.

        Args:
            recording: see `Model.embed`.
            sample_rate: sample rate of an array of samples, in Hz.
            prior: probability of each singer before the recording is scored; see `verify`.

        Raises:
            UtteranceError: the recording cannot be used.
            SingerVerifyError: nobody is enrolled, or a prior has no effect.
        """
        enrolled = self.known()
        embedded = self.model.embed_windows(recording, sample_rate)
        return rank_candidates(self.scoring, enrolled, embedded.embedding, prior, self._remark_enrolled(embedded))

    def verify(
        self,
        singer: str,
        recording: str | Path | AudioClip | Num[np.ndarray, " samples *channels"],
        sample_rate: int | None = None,
        prior: float | None = None,
    ) -> VerificationResult:
        """Decide whether an enrolled singer sings; arguments and errors as for `identify`.

        Raises:
            SingerVerifyError: no such singer.
        """
        enrolled = build_enrolled_singers(find_singer_recordings(self.enrolled, singer), self.scoring)
        (number,) = enrolled.num_recordings
        embedded = self.model.embed_windows(recording, sample_rate)
        side = self.scoring.prepare_embeddings(embedded.embedding[None])
        score = float(self.scoring.compute_pair_scores(enrolled.sides, side)[0])
        remarks = self._remark_enrolled(embedded) + describe_enrolment_mismatch(self.scoring, number)
        return decide_score(self.scoring.with_enrolment_size(number), score, prior, remarks)


@contextmanager
def lock_gallery(path: Path) -> Iterator[None]:
    """Keep other processes from changing a gallery: load it, change it and save it within this context.

    Raises:
        SingerVerifyError: the folder is not there, or cannot be written to.
    """
    require_gallery_path(path)  # before the lock, which would create the folder
    lock_path = path.with_name(f"{path.name}.lock")
    lock = FileLock(lock_path)
    try:
        lock_path.touch()  # fails at once where the folder is not writable; FileLock may retry forever
        lock.acquire()
    except OSError as error:
        raise SingerVerifyError(
            f"{path}: its folder cannot be written to ({error.strerror or error}); choose another."
        ) from error
    try:
        yield
    finally:
        # While it is held: FileLock makes a process that waits for a removed file start over.
        with suppress(OSError):  # systems that keep open files, where FileLock removes it
            lock_path.unlink()
        lock.release()


def require_gallery_path(path: Path) -> None:
    """Check that a gallery can be written to a path.

    Raises:
        SingerVerifyError: the name does not end in .npz, is that of a folder, or lies in none.
    """
    if path.suffix != ".npz":
        raise SingerVerifyError(f"{path}: expected the name of a gallery, which ends in .npz.")
    require_output_path(path)


def write_gallery(path: Path, fingerprint: str, enrolled: Iterable[EnrolledRecording]) -> None:
    """Write a whole gallery, or leave the existing file as it is.

    Raises:
        SingerVerifyError: as of `require_gallery_path`, or it cannot be written.
    """
    require_gallery_path(path)
    recordings = list(enrolled)
    strings = [
        [recording.singer for recording in recordings],
        [recording.recording for recording in recordings],
        [recording.content for recording in recordings],
    ]
    rows = np.stack([recording.embedding for recording in recordings]) if recordings else np.zeros((0, 0), np.float32)
    arrays: dict[str, Any] = {
        name: np.array(column, dtype=np.str_) for name, column in zip(STRING_ARRAYS, strings, strict=True)
    }
    arrays |= {"version": GALLERY_FORMAT_VERSION, "fingerprint": fingerprint, "embeddings": rows}
    arrays["checksum"] = _compute_gallery_checksum(fingerprint, strings, rows)
    with atomic_write(path) as part, open(part, "wb") as file:
        np.savez(file, **arrays)


def read_gallery(path: Path) -> tuple[str, tuple[EnrolledRecording, ...]]:
    """Return the fingerprint of a gallery's model, and its recordings; nothing in the file is executed.

    Raises:
        SingerVerifyError: no such file, not a gallery, of another version, or damaged.
    """
    if path.is_dir():
        raise SingerVerifyError(f"{path}: is a folder; expected a gallery, an .npz that singer-verify enrol wrote.")
    if not path.is_file():
        raise SingerVerifyError(f"{path}: no such gallery; singer-verify enrol creates one.")
    try:
        arrays = read_npz(path)
    except ARRAY_READ_ERRORS as error:
        raise SingerVerifyError(f"{path}: is damaged or not a gallery, and was not loaded; enrol again.") from error
    if set(arrays) != GALLERY_ARRAYS:
        raise SingerVerifyError(f"{path}: is not a gallery; singer-verify enrol creates one.")
    if (version := arrays["version"].tolist()) != GALLERY_FORMAT_VERSION:
        raise SingerVerifyError(
            f"{path}: has format {version}; this version reads {GALLERY_FORMAT_VERSION}; enrol again."
        )
    if not _is_intact_gallery(arrays):
        raise SingerVerifyError(f"{path}: does not agree with its checksum; it is damaged: enrol again.")
    singers, *strings = (arrays[name].tolist() for name in STRING_ARRAYS)
    columns = map(normalise_name, singers), *strings, arrays["embeddings"]
    enrolled = tuple(EnrolledRecording(*fields) for fields in zip(*columns, strict=True))
    return str(arrays["fingerprint"]), enrolled


def _is_intact_gallery(arrays: dict[str, np.ndarray]) -> bool:
    rows = arrays["embeddings"]
    strings = [arrays[name] for name in (*STRING_ARRAYS, "fingerprint", "checksum")]
    if rows.dtype != np.float32 or rows.ndim != 2 or any(array.dtype.kind != "U" for array in strings):
        return False
    lists = [arrays[name].tolist() for name in STRING_ARRAYS]
    if any(np.shape(column) != (len(rows),) for column in lists):
        return False
    lengths = np.linalg.norm(rows, axis=1)
    plausible = bool((np.abs(lengths - 1.0) < UNIT_NORM_TOLERANCE).all()) and all(map(is_valid_name, lists[0]))
    return plausible and str(arrays["checksum"]) == _compute_gallery_checksum(str(arrays["fingerprint"]), lists, rows)


def _compute_gallery_checksum(fingerprint: str, strings: list[list[str]], rows: np.ndarray) -> str:
    digest = hashlib.sha256(json.dumps([GALLERY_FORMAT_VERSION, fingerprint, *strings]).encode())
    digest.update(np.ascontiguousarray(rows).tobytes())
    return digest.hexdigest()
