"""Galleries: enrolled singers, to be identified and verified by the embeddings of their recordings."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Num

from singer_verify.audio.clip import AudioClip
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.evaluation.scoring.scoring import COSINE, Scoring
from singer_verify.inference.enrolment import (
    RESERVED_NAMES,
    EnrolledRecording,
    EnrolledSingers,
    EnrolmentResult,
    build_enrolled_singers,
    compute_content_hash,
    describe_enrolment_mismatch,
    find_singer_recordings,
    is_valid_name,
    select_enrolled_recordings,
)
from singer_verify.inference.gallery_file import read_gallery, write_gallery
from singer_verify.inference.identification import IdentificationResult, rank_candidates
from singer_verify.inference.model import Model
from singer_verify.inference.verification import VerificationResult, decide_score


class Gallery:
    """Enrolled singers of a model.

        gallery = Gallery(load_model(Path("runs/first")))
        gallery.enrol("anna", [Path("anna1.wav"), Path("anna2.wav")])
        gallery.save(Path("choir.npz"))
        gallery = Gallery.load(Path("choir.npz"), model, scoring)
        gallery.identify(Path("who.wav")).best

    A singer is the mean of the projected embeddings of the singer's recordings. Processes that enrol into the same file
    use `gallery_file.lock_gallery`, so that none loses another's recordings.

    Args:
        model: the model; a gallery belongs to one.
        scoring: of its embeddings.
        enrolled: its recordings.
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
        return tuple(sorted({each.singer for each in self.enrolled}))

    def known(self) -> EnrolledSingers:
        """Average the recordings of each singer, ready to be scored.

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
        return tuple(each.recording for each in find_singer_recordings(self.enrolled, singer))

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
        if not is_valid_name(singer) or singer in RESERVED_NAMES:
            raise SingerVerifyError(
                f"singer {singer!r}: expected a name of up to 200 printable characters, other than "
                f"{' and '.join(RESERVED_NAMES)}, which stand for nobody."
            )
        found: list[EnrolledRecording] = []
        remarks: list[str] = []
        for recording, embedded in self.model.embed_many(recordings):
            if isinstance(embedded, UtteranceError):
                remarks.append(str(embedded))
            else:
                found.append(
                    EnrolledRecording(singer, str(recording), compute_content_hash(recording), embedded.embedding)
                )
                remarks += embedded.remarks
        if not found:
            raise SingerVerifyError(f"{singer}: none of the recordings can be used: {' '.join(remarks) or 'no files.'}")
        return tuple(found), tuple(remarks)

    def add(self, recordings: Iterable[EnrolledRecording]) -> EnrolmentResult:
        """Add what `embed_recordings` returned; recordings that are enrolled already are left out with a remark."""
        added, remarks = [], []
        for each in recordings:
            before = next((other for other in self.enrolled if other.content == each.content), None)
            if before is None:
                self.enrolled.append(each)
                added.append(each.recording)
            else:
                known = "" if before.singer == each.singer else f", as a recording of {before.singer}: remove it there"
                named = "" if before.recording == each.recording else f" as {before.recording}"
                remarks.append(f"{each.recording}: is in the gallery already{named}{known}; left out.")
        return EnrolmentResult(tuple(added), tuple(remarks))

    def remove(self, singer: str, recording: str | None = None) -> tuple[str, ...]:
        """Remove a singer, or one of the singer's recordings; return what was removed.

        Raises:
            SingerVerifyError: no such singer, or no such recording of the singer.
        """
        gone = select_enrolled_recordings(self.enrolled, singer, recording)
        self.enrolled = [each for each in self.enrolled if not any(each is other for other in gone)]
        return tuple(each.recording for each in gone)

    def identify(
        self,
        recording: str | Path | AudioClip | Num[np.ndarray, " samples *channels"],
        sample_rate: int | None = None,
        prior: float | None = None,
    ) -> IdentificationResult:
        """Find which enrolled singer sings.

        Args:
            recording: as for `Model.embed`.
            sample_rate: of samples, in Hz.
            prior: probability of each singer before the recording is heard, see `verify`.

        Raises:
            UtteranceError: the recording cannot be used.
            SingerVerifyError: nobody is enrolled, or a prior has no effect.
        """
        known = self.known()
        found = self.model.embed_windows(recording, sample_rate)
        return rank_candidates(self.scoring, known, found.embedding, prior, found.remarks)

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
        known = build_enrolled_singers(find_singer_recordings(self.enrolled, singer), self.scoring)
        (number,) = known.num_recordings
        found = self.model.embed_windows(recording, sample_rate)
        score = float(
            self.scoring.compute_pair_scores(known.sides, self.scoring.prepare_embeddings(found.embedding[None]))[0]
        )
        remarks = found.remarks + describe_enrolment_mismatch(self.scoring, number)
        return decide_score(self.scoring.with_enrolment_size(number), score, prior, remarks)
