"""Decode audio files into blocks of samples at their native sample rate, and read their headers."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soundfile
from jaxtyping import Float

from singer_verify.errors import UtteranceError

SOUNDFILE_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3"})
PYAV_SUFFIXES = frozenset({".m4a", ".aac", ".mp4"})
AUDIO_SUFFIXES = SOUNDFILE_SUFFIXES | PYAV_SUFFIXES
BLOCK_SAMPLES = 1 << 19  # 12 s at 44.1 kHz
# Everything that decoding a file can raise.
DECODING_ERRORS = (soundfile.SoundFileError, av.FFmpegError, OSError, IndexError)


class AudioBlock(NamedTuple):
    """Consecutive samples of a recording, (samples, channels), with their sample rate in Hz."""

    samples: Float[np.ndarray, "samples channels"]
    sample_rate: int


def decode_blocks(path: Path) -> Iterator[AudioBlock]:
    """Decode a file block by block, from beginning to end.

    Args:
        path: wav, flac, ogg or mp3 (decoded by libsndfile), m4a, aac or mp4 (by FFmpeg).

    Raises:
        UtteranceError: the file is missing, empty, a folder, not decodable, or its path is not valid UTF-8.
    """
    require_utf8_path(path)
    decode = _decode_with_pyav if path.suffix.lower() in PYAV_SUFFIXES else _decode_with_soundfile
    try:
        yield from decode(path)
    except DECODING_ERRORS as error:
        raise _build_decoding_error(path, error) from error


def require_utf8_path(path: Path) -> None:
    """Check that a path is valid UTF-8: soundfile cannot open others, and UTF-8 tables cannot hold them.

    Raises:
        UtteranceError: the path contains bytes that are not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UtteranceError(f"{path}: the path is not valid UTF-8; rename the file.") from error


class ForwardOnlySoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is only read from beginning to end.

    soundfile seeks after each block of a seekable file, which makes the mp3 decoder drop the state that the next frame
    depends on.
    """

    def seekable(self) -> bool:
        return False


def _decode_with_soundfile(path: Path) -> Iterator[AudioBlock]:
    with ForwardOnlySoundFile(path) as file:
        while len(samples := file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
            yield AudioBlock(samples, file.samplerate)


def _decode_with_pyav(path: Path) -> Iterator[AudioBlock]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        pending: list[np.ndarray] = []
        for frame in chain(container.decode(stream), [None]):  # None flushes the resampler
            pending += [chunk.to_ndarray() for chunk in resampler.resample(frame)]
            if pending and (frame is None or sum(chunk.shape[1] for chunk in pending) >= BLOCK_SAMPLES):
                yield AudioBlock(np.concatenate(pending, axis=1).T, stream.rate)
                pending = []


def _build_decoding_error(path: Path, error: Exception) -> UtteranceError:
    if not os.path.exists(path):
        return UtteranceError(f"{path}: no such file; give the path of an audio file.")
    if path.is_dir():
        return UtteranceError(f"{path}: is a folder; give the path of an audio file.")
    if path.stat().st_size == 0:
        return UtteranceError(f"{path}: file is empty (0 bytes); copy it again from its source or delete it.")
    reason = str(error).splitlines()[0].rstrip(".")
    return UtteranceError(f"{path}: cannot be decoded as audio ({reason}); convert it again or delete it.")


@dataclass(frozen=True)
class AudioInfo:
    """Properties of an audio file.

    Attributes:
        duration_s: duration in seconds.
        sample_rate: sample rate in Hz.
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
