"""A recording of a known singer, as a gallery keeps it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from singer_verify.audio.sound import Sound
from singer_verify.errors import SingerVerifyError

MOST_CHARACTERS = 200

UNKNOWN, SILENT = RESERVED = "unknown", "silent"  # what stands in a timeline for a singer's name


@dataclass(frozen=True)
class Enrolled:
    """One recording.

    Attributes:
        singer: whose it is.
        recording: its path when it was enrolled, or what it is called.
        content: 64 hexadecimal digits, the same for recordings of the same content.
        embedding: (embedding,), of unit length.
    """

    singer: str
    recording: str
    content: str
    embedding: Float[np.ndarray, " embedding"]


@dataclass(frozen=True)
class Enrolment:
    """What came of enrolling recordings.

    Attributes:
        added: recordings that are in the gallery now and were not before.
        remarks: sentences on those that were left out, because they are in it already or cannot be used, and on those
            that are doubtful.
    """

    added: tuple[str, ...]
    remarks: tuple[str, ...]


def content_of(recording: Path | Sound) -> str:
    """SHA-256 of a file, or of samples with their sample rate.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(recording, Path):
        with open(recording, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256(f"{recording.sample_rate} {recording.samples.dtype} {recording.samples.shape}".encode())
    digest.update(np.ascontiguousarray(recording.samples).tobytes())
    return digest.hexdigest()


def is_name(singer: str) -> bool:
    """Whether a singer can be called so: not empty, printable, without blanks around it, not too long."""
    return bool(singer) and singer.isprintable() and singer == singer.strip() and len(singer) <= MOST_CHARACTERS


def recordings_of(enrolled: Iterable[Enrolled], singer: str) -> tuple[Enrolled, ...]:
    """Of one singer, in the order of enrolment.

    Raises:
        SingerVerifyError: no such singer.
    """
    known = list(enrolled)
    found = tuple(each for each in known if each.singer == singer)
    if not found:
        names = ", ".join(sorted({each.singer for each in known})) or "nobody"
        raise SingerVerifyError(f"{singer}: is not in the gallery; enrolled are {names}.")
    return found


def chosen_of(enrolled: Iterable[Enrolled], singer: str, recording: str | None) -> tuple[Enrolled, ...]:
    """All recordings of a singer, or one of them.

    Raises:
        SingerVerifyError: no such singer, or no such recording of the singer.
    """
    of_singer = recordings_of(enrolled, singer)
    found = tuple(each for each in of_singer if recording in (None, each.recording))
    if not found:
        names = ", ".join(each.recording for each in of_singer)
        raise SingerVerifyError(f"{recording}: is no recording of {singer}; enrolled are {names}.")
    return found
