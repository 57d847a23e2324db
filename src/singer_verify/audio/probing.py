"""Duration, sample rate and channel count of a recording, read from the file's header."""

from dataclasses import dataclass
from pathlib import Path

import av
import soundfile

from singer_verify.audio import PYAV_SUFFIXES
from singer_verify.audio.decoding import DECODING_ERRORS, require_utf8_path
from singer_verify.errors import UtteranceError


@dataclass(frozen=True)
class AudioInfo:
    """Properties of an audio file.

    Attributes:
        duration_s: in seconds.
        sample_rate: in Hz.
        num_channels: number of channels.
    """

    duration_s: float
    sample_rate: int
    num_channels: int


def probe_audio(path: Path) -> AudioInfo:
    """Read the properties of an audio file without decoding it.

    Raises:
        UtteranceError: the file is not audio, contains no samples, or its path is not valid UTF-8.
    """
    require_utf8_path(path)
    try:
        info = _probe_with_pyav(path) if path.suffix.lower() in PYAV_SUFFIXES else _probe_with_soundfile(path)
    except DECODING_ERRORS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UtteranceError(f"{path}: cannot be read as audio ({reason}); convert it again or delete it.") from error
    if info.duration_s <= 0:
        raise UtteranceError(f"{path}: contains no samples; record it again or delete it.")
    return info


def _probe_with_soundfile(path: Path) -> AudioInfo:
    info = soundfile.info(path)
    return AudioInfo(info.frames / info.samplerate, info.samplerate, info.channels)


def _probe_with_pyav(path: Path) -> AudioInfo:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        if stream.duration is not None and stream.time_base is not None:
            duration_s = float(stream.duration * stream.time_base)
        else:
            duration_s = (container.duration or 0) / av.time_base
        return AudioInfo(duration_s, stream.rate, stream.channels)
