"""Galleries: enrolled singers, to be identified and verified by the embeddings of their recordings."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Num

from singer_verify.audio.clip import AudioClip
from singer_verify.audio.content import NO_CONTENT
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.evaluation.scoring.scoring import COSINE, Scoring
from singer_verify.inference.enrolment import (
    EnrolledRecording,
    EnrolledSingers,
    EnrolmentResult,
    add_recordings,
    build_enrolled_singers,
    compute_recording_sha256,
    describe_enrolment_mismatch,
    find_singer_recordings,
    format_content,
    require_singer_name,
    select_enrolled_recordings,
)
from singer_verify.inference.gallery_file import (
    SingerLabels,
    read_gallery,
    require_same_model,
    write_gallery,
)
from singer_verify.inference.gallery_store import is_store_path
from singer_verify.inference.identification import IdentificationResult, rank_candidates
from singer_verify.inference.model import Model
from singer_verify.inference.verification import VerificationResult, decide_score
from singer_verify.inference.windows import RecordingEmbedding

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
        labels: labels of singers, such as voice part or gender, by singer and name of the label.
    """

    def __init__(
        self,
        model: Model,
        scoring: Scoring = COSINE,
        enrolled: Iterable[EnrolledRecording] = (),
        labels: SingerLabels | None = None,
    ) -> None:
        self.model, self.scoring = model, scoring
        self.enrolled = list(enrolled)
        self.labels = {singer: dict(values) for singer, values in (labels or {}).items()}

    def __repr__(self) -> str:
        return f"Gallery({len(self.singers)} singers, {len(self.enrolled)} recordings, {self.model!r})"

    @classmethod
    def load(cls, path: str | Path, model: Model, scoring: Scoring = COSINE) -> "Gallery":
        """Load the file that `save` wrote, or open a database of very many recordings (see `StoredGallery`).

        Raises:
            SingerVerifyError: no such file, not a gallery, damaged, or made with another model.
        """
        if is_store_path(Path(path)):
            from singer_verify.inference.stored_gallery import StoredGallery

            return StoredGallery.open(Path(path), model, scoring)
        content = read_gallery(Path(path))
        require_same_model(path, content.fingerprint, model)
        return cls(model, scoring, content.enrolled, content.labels)

    def save(self, path: str | Path) -> None:
        """Write the whole gallery, or leave the existing file as it is: an `.npz` of plain arrays (see `gallery_file`).

        Raises:
            SingerVerifyError: it cannot be written, or the model was not loaded from a file.
        """
        if not self.model.fingerprint:
            raise SingerVerifyError(f"{path}: its model was not loaded from a file; use load_model.")
        write_gallery(Path(path), self.model.fingerprint, self.enrolled, self.labels)

    @property
    def singers(self) -> tuple[str, ...]:
        """Names in alphabetical order."""
        return tuple(sorted({recording.singer for recording in self.enrolled}))

    @property
    def num_singers(self) -> int:
        """Number of enrolled singers."""
        return len({recording.singer for recording in self.enrolled})

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
        return tuple(recording.recording for recording in self.find_recordings(singer))

    def find_recordings(self, singer: str) -> tuple[EnrolledRecording, ...]:
        """Return the recordings of a singer with their embeddings.

        Raises:
            SingerVerifyError: no such singer.
        """
        return find_singer_recordings(self.enrolled, singer)

    def find_copy(self, content: str) -> EnrolledRecording | None:
        """Return the recording that sounds like one of this content; None if none does."""
        return next((other for other in self.enrolled if other.content == content), None)

    def find_file_hashes(self) -> set[str]:
        """Return the contents of the recordings that earlier versions enrolled, which compared files."""
        return {other.content for other in self.enrolled if len(other.content) == NUM_FILE_HASH_DIGITS}

    def find_owners(self, contents: Iterable[str]) -> dict[str, str]:
        """Return the singers of the recordings of these contents, those that are enrolled, by content."""
        owners = {other.content: other.singer for other in self.enrolled}
        return {content: owners[content] for content in contents if content in owners}

    def count_recordings(self) -> dict[str, int]:
        """Count the recordings of each singer."""
        return dict(Counter(recording.singer for recording in self.enrolled))

    def find_contents(self) -> dict[tuple[str, str], str]:
        """Return the content of each recording, by its singer and name."""
        return {(recording.singer, recording.recording): recording.content for recording in self.enrolled}

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
        singer = require_singer_name(singer)
        enrolled: list[EnrolledRecording] = []
        remarks: list[str] = []
        listed = list(recordings)
        for embedded, remark in self.embed_singers(listed, [singer] * len(listed)):
            enrolled += [] if embedded is None else [embedded]
            remarks += remark
        if not enrolled:
            raise SingerVerifyError(f"{singer}: none of the recordings can be used: {' '.join(remarks) or 'no files.'}")
        return tuple(enrolled), tuple(remarks)

    def embed_singers(
        self, recordings: Iterable[str | Path | AudioClip], singers: Iterable[str]
    ) -> Iterator[tuple[EnrolledRecording | None, tuple[str, ...]]]:
        """Embed recordings of any singers for `add`, one after another; the gallery stays as it is.

        Args:
            recordings: files or clips; read only as far as needed.
            singers: the singer of each, a valid name.

        Yields:
            The embedded recording, None where it cannot be used, and remarks on it.
        """
        enrolled_files = self.find_file_hashes()
        for singer, (recording, embedded) in zip(singers, self.model.embed_many(recordings), strict=False):
            if isinstance(embedded, UtteranceError):
                yield None, (str(embedded),)
            else:
                content = _describe_content(recording, embedded, enrolled_files)
                yield EnrolledRecording(singer, str(recording), content, embedded.embedding), embedded.remarks

    def _remark_enrolled(self, embedded: RecordingEmbedding) -> tuple[str, ...]:
        """Return the remarks on a recording, and one if it is enrolled itself, so that its score tells nothing."""
        content = format_content(embedded.content)
        same = None if embedded.content == NO_CONTENT else self.find_copy(content)
        if same is None:
            return embedded.remarks
        return (
            *embedded.remarks,
            f"{embedded.name}: is enrolled itself, as {same.recording} of {same.singer}; that score tells nothing.",
        )

    def add(self, recordings: Iterable[EnrolledRecording]) -> EnrolmentResult:
        """Add what `embed_recordings` returned; recordings that are enrolled already are left out with a remark."""
        return add_recordings(self.enrolled, recordings)

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
        exact: bool = True,
    ) -> IdentificationResult:
        """Find which enrolled singer sings.

        Args:
            recording: see `Model.embed`.
            sample_rate: sample rate of an array of samples, in Hz.
            prior: probability of each singer before the recording is scored; see `verify`.
            exact: without effect here, where all singers are scored; see `StoredGallery.identify`.

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
        enrolled = build_enrolled_singers(self.find_recordings(singer), self.scoring)
        (number,) = enrolled.num_recordings
        embedded = self.model.embed_windows(recording, sample_rate)
        side = self.scoring.prepare_embeddings(embedded.embedding[None])
        score = float(enrolled.compute_scores(self.scoring, side)[0, 0])
        remarks = self._remark_enrolled(embedded) + describe_enrolment_mismatch(self.scoring, number)
        return decide_score(self.scoring.with_enrolment_size(number), score, prior, remarks)


def _describe_content(recording: Path | AudioClip, embedded: RecordingEmbedding, enrolled_files: set[str]) -> str:
    """Return what is the same for recordings that sound the same.

    Earlier versions compared files by their bytes: a file that one of them enrolled is recognised by these.
    """
    if embedded.content == NO_CONTENT or enrolled_files:
        file_hash = compute_recording_sha256(recording)
        if embedded.content == NO_CONTENT or file_hash in enrolled_files:
            return file_hash
    return format_content(embedded.content)
