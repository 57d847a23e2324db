"""Length, sample rate and channels of a recording, read from its header."""

from dataclasses import dataclass
from pathlib import Path

import av
import soundfile

from singer_verify.audio import PYAV_SUFFIXES
from singer_verify.audio.decoding import DECODING_ERRORS, require_utf8_path
from singer_verify.errors import UtteranceError


@dataclass(frozen=True)
class AudioInfo:
    """Of an audio file.

    Attributes:
        seconds: its length.
        sample_rate: in Hz.
        channels: their number.
    """

    seconds: float
    sample_rate: int
    channels: int


def probe_audio(path: Path) -> AudioInfo:
    """
    Raises:
        UtteranceError: the file is no audio, holds no sample, or has a path that is no text.
    """
    require_utf8_path(path)
    try:
        properties = _probe_with_pyav(path) if path.suffix.lower() in PYAV_SUFFIXES else _probe_with_soundfile(path)
    except DECODING_ERRORS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UtteranceError(f"{path}: cannot be read as audio ({reason}).") from error
    if properties.seconds <= 0:
        raise UtteranceError(f"{path}: holds no samples.")
    return properties


def _probe_with_soundfile(path: Path) -> AudioInfo:
    info = soundfile.info(path)
    return AudioInfo(info.frames / info.samplerate, info.samplerate, info.channels)


def _probe_with_pyav(path: Path) -> AudioInfo:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        if stream.duration is not None and stream.time_base is not None:
            seconds = float(stream.duration * stream.time_base)
        else:
            seconds = (container.duration or 0) / av.time_base
        return AudioInfo(seconds, stream.rate, stream.channels)
