"""Audio files to blocks of samples, as they are in the file."""

import os
from collections.abc import Iterator
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
DECODING_ERRORS = (soundfile.SoundFileError, av.FFmpegError, OSError, IndexError)  # what reading a file can end in


class AudioBlock(NamedTuple):
    """A stretch of a recording: its samples, and their sample rate in Hz."""

    channels: Float[np.ndarray, "samples channels"]
    sample_rate: int


def decode_blocks(path: Path) -> Iterator[AudioBlock]:
    """The blocks of a file from its beginning to its end.

    Args:
        path: wav, flac, ogg or mp3 (libsndfile), m4a, aac or mp4 (FFmpeg).

    Raises:
        UtteranceError: the file is missing or empty, a folder, cannot be decoded, or its path is no text.
    """
    require_utf8_path(path)
    decode = _decode_with_pyav if path.suffix.lower() in PYAV_SUFFIXES else _decode_with_soundfile
    try:
        yield from decode(path)
    except DECODING_ERRORS as error:
        raise _build_decoding_error(path, error) from error


def require_utf8_path(path: Path) -> None:
    """Refuse a path that is no text: soundfile cannot open it, and tables of UTF-8 cannot name it.

    Raises:
        UtteranceError: the path holds bytes that are no UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UtteranceError(f"{path}: its path is no text in UTF-8; rename it.") from error


class ForwardOnlySoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from its beginning to its end.

    soundfile seeks to where it is after each block, if it can, and a seek makes the mp3 decoder forget what the next
    frame needs of those before.
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
        planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        held: list[np.ndarray] = []
        for frame in chain(container.decode(stream), [None]):  # None: what the resampler still holds
            held += [part.to_ndarray() for part in planar.resample(frame)]
            if held and (frame is None or sum(part.shape[1] for part in held) >= BLOCK_SAMPLES):
                yield AudioBlock(np.concatenate(held, axis=1).T, stream.rate)
                held = []


def _build_decoding_error(path: Path, error: Exception) -> UtteranceError:
    if not os.path.exists(path):
        return UtteranceError(f"{path}: no such file; give the path of an audio file.")
    if path.is_dir():
        return UtteranceError(f"{path}: is a folder; give the path of an audio file in it.")
    if path.stat().st_size == 0:
        return UtteranceError(f"{path}: the file is empty (0 bytes); copy it again from its source or delete it.")
    reason = str(error).splitlines()[0].rstrip(".")
    return UtteranceError(f"{path}: cannot be decoded as audio ({reason}); convert it again or delete it.")
