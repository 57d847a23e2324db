"""Enrolled recordings and singers, as a gallery keeps and scores them."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from singer_verify.audio.clip import AudioClip
from singer_verify.corpora.corpus import SPLITS, read_corpus
from singer_verify.corpora.names import normalise_name
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.scoring.enrolment import compute_singer_scores, enrol_singers
from singer_verify.evaluation.scoring.scoring import ENROLMENT_SCORE_WORDS, ENROLMENT_SCORES, Scoring, TrialEmbeddings
from singer_verify.inference.model import Model
from singer_verify.runs.provenance import compute_file_sha256

MAX_NAME_CHARACTERS = 200
SAME_RECORDING_REMARK = ": is in the gallery already; left out."

UNKNOWN_SINGER, SILENT = RESERVED_NAMES = "unknown", "silent"  # labels of a diarization in place of a singer


@dataclass(frozen=True)
class EnrolledRecording:
    """An enrolled recording.

    Attributes:
        singer: name of its singer, in NFC.
        recording: path of the recording when it was enrolled, or its name.
        content: the same for recordings that sound the same: 16 hexadecimal digits, see `format_content`; or 64 for
            those that were enrolled by earlier versions, which compared files, and those without identity.
        embedding: (embedding,), of unit length.
    """

    singer: str
    recording: str
    content: str
    embedding: Float[np.ndarray, " embedding"]


@dataclass(frozen=True)
class EnrolmentResult:
    """Outcome of enrolling recordings.

    Attributes:
        added: recordings that are new in the gallery.
        remarks: sentences on recordings that were left out, because they are enrolled already or cannot be used, and on
            doubtful ones.
    """

    added: tuple[str, ...]
    remarks: tuple[str, ...]


def format_content(content: int) -> str:
    """Format the identity of what a recording sounds like (see `audio.content`), as a gallery keeps it."""
    return f"{content % 2**64:016x}"


def describe_copy(recording: EnrolledRecording, singer: str, name: str) -> str:
    """Return the remark on a recording that is left out because it is enrolled already.

    Args:
        recording: the recording.
        singer: singer that it is enrolled as.
        name: name that it is enrolled under.
    """
    owner = "" if singer == recording.singer else f", as a recording of {singer}: remove it there"
    named = "" if name == recording.recording else f" as {name}"
    if not owner and not named:
        return f"{recording.recording}{SAME_RECORDING_REMARK}"
    return f"{recording.recording}: is in the gallery already{named}{owner}; left out."


def add_recordings(enrolled: list[EnrolledRecording], recordings: Iterable[EnrolledRecording]) -> EnrolmentResult:
    """Add recordings to those that are enrolled; those that are enrolled already are left out with a remark."""
    added, remarks = [], []
    first_with: dict[str, EnrolledRecording] = {}
    for other in enrolled:
        first_with.setdefault(other.content, other)
    for recording in recordings:
        before = first_with.setdefault(recording.content, recording)
        if before is recording:
            enrolled.append(recording)
            added.append(recording.recording)
        else:
            remarks.append(describe_copy(recording, before.singer, before.recording))
    return EnrolmentResult(tuple(added), tuple(remarks))


def compute_recording_sha256(recording: Path | AudioClip) -> str:
    """Return the SHA-256 of a file's bytes, or of samples with their sample rate.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(recording, Path):
        return compute_file_sha256(recording)
    digest = hashlib.sha256(f"{recording.sample_rate} {recording.samples.dtype} {recording.samples.shape}".encode())
    digest.update(np.ascontiguousarray(recording.samples).tobytes())
    return digest.hexdigest()


def is_valid_name(singer: str) -> bool:
    """Return whether a name is valid: not empty, printable, without surrounding blanks, not too long."""
    return bool(singer) and singer.isprintable() and singer == singer.strip() and len(singer) <= MAX_NAME_CHARACTERS


def require_singer_name(singer: str) -> str:
    """Return a singer's name in NFC.

    Raises:
        SingerVerifyError: it is not valid, or stands for nobody.
    """
    singer = normalise_name(singer)
    if not is_valid_name(singer) or singer in RESERVED_NAMES:
        raise SingerVerifyError(
            f"singer {singer!r}: expected a name of up to 200 printable characters, other than "
            f"{' and '.join(RESERVED_NAMES)}, which stand for nobody."
        )
    return singer


def find_singer_files(model: Model, folder: Path, splits: tuple[str, ...] | None) -> dict[Path, str]:
    """Find the files of a corpus, or of a folder with one folder per singer, and the singer of each.

    Args:
        model: model that the files are for.
        folder: a corpus, `<folder>/<split>/<singer>/**/<utterance>`, or `<folder>/<singer>/**/<utterance>`.
        splits: splits of the corpus to read; None reads all that it has.

    Raises:
        SingerVerifyError: no file, no such split, a file outside a singer's folder, or see `read_corpus`.
    """
    present = [name for name in dict.fromkeys([*(splits or ()), *SPLITS]) if (folder / name).is_dir()]
    if present:
        chosen = splits or tuple(present)  # one by one: a singer may be in several of them
        corpora = [read_corpus(folder, splits=(split,), required=(split,)) for split in chosen]
        utterances = [
            utterance for corpus in corpora for split in corpus.splits.values() for utterance in split.utterances
        ]
        return {folder / utterance.path: utterance.singer for utterance in utterances}
    files = model.find_files([folder])
    if loose := [file for file in files if file.parent == folder or file == folder]:
        raise SingerVerifyError(
            f"{loose[0]}: not in a singer's folder; expected a corpus, or a folder with one folder per singer."
        )
    return {file: normalise_name(file.relative_to(folder).parts[0]) for file in files}


def find_singer_recordings(enrolled: Iterable[EnrolledRecording], singer: str) -> tuple[EnrolledRecording, ...]:
    """Find the recordings of a singer, in the order of enrolment.

    Raises:
        SingerVerifyError: no such singer.
    """
    recordings, singer = list(enrolled), normalise_name(singer)
    selected = tuple(recording for recording in recordings if recording.singer == singer)
    if not selected:
        names = ", ".join(sorted({recording.singer for recording in recordings})) or "nobody"
        raise SingerVerifyError(f"{singer}: is not in the gallery; enrolled are {names}.")
    return selected


def select_enrolled_recordings(
    enrolled: Iterable[EnrolledRecording], singer: str, recording: str | None
) -> tuple[EnrolledRecording, ...]:
    """Select all recordings of a singer, or one of them.

    Raises:
        SingerVerifyError: no such singer, or no such recording of the singer.
    """
    of_singer = find_singer_recordings(enrolled, singer)
    selected = tuple(
        candidate
        for candidate in of_singer
        if recording is None or normalise_name(candidate.recording) == normalise_name(recording)
    )
    if not selected:
        names = ", ".join(candidate.recording for candidate in of_singer)
        raise SingerVerifyError(f"{recording}: is not a recording of {singer}; enrolled are {names}.")
    return selected


@dataclass(frozen=True)
class EnrolledSingers:
    """Singers prepared for scoring.

    Attributes:
        names: names in alphabetical order.
        num_recordings: number of enrolled recordings of each singer.
        sides: mean of the recordings of each singer, prepared for scoring; or all recordings, where the scoring takes
            the best of them.
        groups: (sides,), index of the singer of each recording; None for means.
    """

    names: tuple[str, ...]
    num_recordings: tuple[int, ...]
    sides: TrialEmbeddings
    groups: Int[np.ndarray, " sides"] | None = None

    @cached_property
    def distinct_sizes(self) -> dict[int, Bool[np.ndarray, " singers"]]:
        """The numbers of recordings that singers have, each with the mask of those singers."""
        numbers = np.array(self.num_recordings)
        return {number: numbers == number for number in np.unique(numbers).tolist()}

    def compute_scores(self, scoring: Scoring, queries: TrialEmbeddings) -> Float[np.ndarray, "queries singers"]:
        """Score prepared queries against each singer."""
        return compute_singer_scores(scoring, queries, self.sides, self.groups)


def build_enrolled_singers(enrolled: Iterable[EnrolledRecording], scoring: Scoring) -> EnrolledSingers:
    """Prepare singers for scoring: the mean of the recordings of each, or all of them.

    Args:
        enrolled: recordings, at least one.
        scoring: scoring of their embeddings.
    """
    recordings = list(enrolled)
    names, groups = np.unique([recording.singer for recording in recordings], return_inverse=True)
    embeddings = np.stack([recording.embedding for recording in recordings])
    return prepare_singers(tuple(names.tolist()), groups, embeddings, scoring)


def prepare_singers(
    names: tuple[str, ...],
    groups: Int[np.ndarray, " recordings"],
    embeddings: Float[np.ndarray, "recordings embedding"],
    scoring: Scoring,
) -> EnrolledSingers:
    """Prepare singers for scoring from arrays, see `build_enrolled_singers`.

    Args:
        names: names in alphabetical order.
        groups: index of the singer of each recording.
        embeddings: rows of unit length.
        scoring: scoring of the embeddings.
    """
    sides = scoring.prepare_embeddings(embeddings)
    described = names, tuple(np.bincount(groups).tolist())
    if ENROLMENT_SCORES[scoring.enrolment_score] is not None:
        return EnrolledSingers(*described, sides, groups)
    return EnrolledSingers(*described, enrol_singers(sides, groups, scoring))


def describe_enrolment_mismatch(scoring: Scoring, num_recordings: int) -> tuple[str, ...]:
    """Return a remark if the threshold was fitted to pairs of single recordings and a singer has several.

    Args:
        scoring: scoring that decides.
        num_recordings: number of enrolled recordings of the singer.
    """
    is_given = scoring.threshold is not None and scoring.threshold.is_user_defined
    is_calibrated = scoring.calibration is not None
    affected = [
        *(["the threshold"] if not is_given and (is_calibrated or scoring.threshold is not None) else []),
        *(["the probabilities"] if is_calibrated else []),
    ]
    if num_recordings < 2 or scoring.multi_enrolment or not affected:
        return ()
    return (
        f"{' and '.join(affected)} {'were' if is_calibrated else 'was'} fitted to pairs of single recordings, and the "
        f"{ENROLMENT_SCORE_WORDS[scoring.enrolment_score]} of several scores higher, so strangers are accepted more "
        f"often; singer-verify calibrate fits them for several, on a corpus with as many recordings of each singer.",
    )
