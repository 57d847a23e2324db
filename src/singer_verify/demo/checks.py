"""What a clip must be before it is listened to: there, audio, not too large, not too long."""

from dataclasses import dataclass
from pathlib import Path

from singer_verify.audio import AUDIO_SUFFIXES
from singer_verify.audio.decoding import decoded
from singer_verify.errors import UtteranceError

PAGE_SUFFIXES = AUDIO_SUFFIXES - {".mp4"}  # a browser calls that a video, which the page's field for audio refuses
READABLE = ", ".join(sorted(suffix[1:] for suffix in PAGE_SUFFIXES))
LONGEST_SECONDS = 600.0  # frames of ten minutes, and their picture, are there within seconds
BYTES_PER_MB = 1 << 20  # as Gradio counts


@dataclass(frozen=True)
class Limits:
    """Of one clip.

    Attributes:
        max_mb: size of its file, in units of 2^20 bytes.
        longest_seconds: how long it may last.
    """

    max_mb: float
    longest_seconds: float = LONGEST_SECONDS


def checked(upload: str | None, missing: str, limits: Limits) -> Path:
    """The file of a clip that may be embedded.

    Args:
        upload: where the page put the clip; None, where nothing was recorded or uploaded.
        missing: what to say then.
        limits: of the clip.

    Raises:
        UtteranceError: there is no clip, or it is not audio, too large or too long.
    """
    if upload is None:
        raise UtteranceError(missing)
    path = Path(upload)
    if not path.is_file():
        raise UtteranceError(f"{path}: is not kept any longer; record or upload it again.")
    if path.suffix.lower() not in PAGE_SUFFIXES:
        raise UtteranceError(f"{path}: is not audio that this page reads ({READABLE}); choose another file.")
    if path.stat().st_size > limits.max_mb * BYTES_PER_MB:
        megabytes = path.stat().st_size / BYTES_PER_MB
        raise UtteranceError(f"{path}: has {megabytes:.1f} MB, more than {limits.max_mb:g} MB; cut out a part.")
    _check_length(path, limits.longest_seconds)
    return path


def _check_length(path: Path, longest_seconds: float) -> None:
    """Decodes block by block and stops at the limit, because a small file may hold hours, and its header may lie."""
    seconds = 0.0
    for channels, sample_rate in decoded(path):
        seconds += len(channels) / sample_rate
        if seconds > longest_seconds:
            raise UtteranceError(f"{path}: lasts more than {longest_seconds / 60:g} minutes; cut out a part.")
