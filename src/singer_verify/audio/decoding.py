"""Decode audio files into blocks of samples at their native sample rate, from the first to the last, and measure them.

FFmpeg's libraries (PyAV) read every format. They are given an opened file, never its name, and a list of formats: what
looks like a URL or a playlist opens nothing else.
"""

import logging
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from jaxtyping import Float

from singer_verify.audio.containers import FilePart, find_file_parts
from singer_verify.errors import UtteranceError
from singer_verify.logging_once import warn_once

log = logging.getLogger(__name__)

# fmt: off
AUDIO_SUFFIXES = frozenset({
    ".wav", ".w64", ".rf64", ".aiff", ".aif", ".caf", ".flac", ".wv", ".mp3", ".m4a", ".aac", ".mp4", ".ogg", ".oga",
    ".opus", ".webm", ".mka", ".wma",
})
# fmt: on
# FFmpeg's names of the formats that hold recordings. A playlist is none of them, whatever its name.
FORMATS = "wav,w64,flac,ogg,mp3,aac,mov,aiff,caf,asf,matroska,wv,au,nistsphere"
BLOCK_SAMPLES = 1 << 19  # 12 s at 44.1 kHz
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1000, 768_000  # Hz
MIN_MISSING_S = 0.2  # encoders round the duration in a header to their frames
MIN_DAMAGED_PACKETS = 3  # where files are joined, one or two packets are no audio
READ_BYTES = 1 << 16
PACKET_BYTES = 1 << 16  # of uncompressed audio
MAX_PLANES = 7  # PyAV reads beyond the last of eight or more
GIT_LFS_START = b"version https://git-lfs"


class AudioBlock(NamedTuple):
    """Consecutive samples of a recording.

    Attributes:
        samples: (samples, channels), float32 in [-1, 1].
        sample_rate: sample rate in Hz, which may change from block to block.
        channel_names: FFmpeg's name of each channel (FL, FR, FC, LFE, ...); empty if the file does not tell.
    """

    samples: Float[np.ndarray, "samples channels"]
    sample_rate: int
    channel_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class AudioInfo:
    """Properties of an audio file.

    Attributes:
        duration_s: duration in seconds, as decoded.
        sample_rate: sample rate of its beginning, in Hz.
        num_channels: number of channels of its beginning.
    """

    duration_s: float
    sample_rate: int
    num_channels: int


def decode_blocks(path: Path) -> Iterator[AudioBlock]:
    """Decode a file block by block, from beginning to end.

    What cannot be decoded is logged as a warning, once: an end that is missing, damaged packets, further streams.

    Args:
        path: a file of any of the formats of `AUDIO_SUFFIXES`; its content tells which, not its suffix.

    Raises:
        UtteranceError: the file is missing, empty, a folder, not decodable, or its path is not valid UTF-8.
    """
    current: tuple[int, tuple[str, ...], int] | None = None
    pending: list[Float[np.ndarray, "samples channels"]] = []
    num_pending = 0
    for frame in _decode_frames(path):
        names = _get_channel_names(frame)
        properties = (frame.sample_rate, names, frame.layout.nb_channels)
        if current is not None and properties != current:
            yield AudioBlock(np.concatenate(pending), *current[:2])
            pending, num_pending = [], 0
        current = properties
        pending.append(_convert_to_float(frame))
        num_pending += frame.samples
        if num_pending > BLOCK_SAMPLES:
            joined = np.concatenate(pending)
            for first in range(0, num_pending - BLOCK_SAMPLES, BLOCK_SAMPLES):
                yield AudioBlock(joined[first : first + BLOCK_SAMPLES], *current[:2])
            pending = [joined[first + BLOCK_SAMPLES :]]
            num_pending = len(pending[0])
    if current is not None:
        yield AudioBlock(np.concatenate(pending), *current[:2])


def probe_audio(path: Path) -> AudioInfo:
    """Measure the properties of an audio file by decoding it: headers are often wrong about the duration.

    Raises:
        UtteranceError: the file is not audio, contains no samples, or its path is not valid UTF-8.
    """
    duration_s, first = 0.0, None
    for frame in _decode_frames(path):
        first = first or (frame.sample_rate, frame.layout.nb_channels)
        duration_s += frame.samples / frame.sample_rate
    if first is None:
        raise UtteranceError(f"{path}: contains no samples; record it again or delete it.")
    return AudioInfo(duration_s, *first)


def require_utf8_path(path: Path) -> None:
    """Check that a path is valid UTF-8, because tables in UTF-8 cannot hold others.

    Raises:
        UtteranceError: the path contains bytes that are not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UtteranceError(f"{path}: the path is not valid UTF-8; rename the file.") from error


def _decode_frames(path: Path) -> Iterator[AudioFrame]:
    """Decode the frames of all recordings in a file."""
    require_utf8_path(path)
    _require_file(path)
    try:
        with open(path, "rb", buffering=0) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content[: len(GIT_LFS_START)] == GIT_LFS_START:
                raise UtteranceError(f"{path}: is a Git LFS pointer, not the recording; run `git lfs pull`.")
            parts = find_file_parts(content)
        with open(path, "rb", buffering=0) as file:
            for part in parts:
                if not part.is_empty:
                    yield from _PartDecoder(path, part).decode(file)
    except PermissionError as error:
        if error.errno is None:  # not the system's: see `_refuse_second_file`
            raise _build_decoding_error(path, str(error)) from error
        raise UtteranceError(f"{path}: cannot be read ({error.strerror}); make it readable.") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _build_decoding_error(path, str(getattr(error, "strerror", None) or error)) from error


def _require_file(path: Path) -> None:
    if not os.path.exists(path):
        raise UtteranceError(f"{path}: no such file; give the path of an audio file.")
    if path.is_dir():
        raise UtteranceError(f"{path}: is a folder; give the path of an audio file.")
    if not path.is_file():
        raise UtteranceError(f"{path}: is not a regular file; give the path of an audio file.")
    if path.stat().st_size == 0:
        raise UtteranceError(f"{path}: file is empty (0 bytes); copy it again from its source or delete it.")


class _PartDecoder:
    """Decoder of one recording of a file.

    Args:
        path: the file's path, for messages.
        part: position of the recording.
    """

    def __init__(self, path: Path, part: FilePart) -> None:
        self.path, self.part = path, part
        self.seconds = 0.0
        self.num_damaged = 0

    def decode(self, file: IO[bytes]) -> Iterator[AudioFrame]:
        """Decode the frames of the recording.

        Args:
            file: the opened file.
        """
        with self._open(file) as container:
            stream = self._choose_stream(container)
            claimed_s = _read_duration(container, stream) if self.part.has_true_duration else self.part.seconds
            try:
                for packet in container.demux(stream):
                    for frame in self._decode_packet(packet):
                        self.seconds += frame.samples / frame.sample_rate
                        yield frame
            except (av.FFmpegError, OSError):
                if not self.seconds:
                    raise
                self.num_damaged += MIN_DAMAGED_PACKETS
        self._report_losses(claimed_s)

    def _open(self, file: IO[bytes]) -> InputContainer:
        options = {
            "format_whitelist": FORMATS,
            "protocol_whitelist": "none",
            "max_size": str(PACKET_BYTES),
            "max_probe_packets": "1",  # else each WAV is searched for DTS, which takes 30 ms
        }
        try:
            return av.open(
                FileSection(file, self.part.start, self.part.stop),
                "r",
                metadata_errors="ignore",
                buffer_size=READ_BYTES,
                io_open=_refuse_second_file,
                container_options=options | self.part.options,
            )
        except (av.InvalidDataError, av.ArgumentError) as error:
            reason = "no known audio format, or its header is damaged or cut off"
            raise _build_decoding_error(self.path, reason) from error

    def _choose_stream(self, container: InputContainer) -> AudioStream:
        """Return the stream that the file marks as the default, or the first."""
        streams = container.streams.audio
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "no streams"
            raise UtteranceError(f"{self.path}: holds no audio ({kinds} only); give a recording.")
        stream = next((stream for stream in streams if stream.disposition & Disposition.default), streams[0])
        if stream.codec_context is None:
            raise _build_decoding_error(self.path, "its codec is not known")
        if len(streams) > 1:
            warn_once(
                log,
                f"{self.path}: holds {len(streams)} audio streams; number {streams.index(stream) + 1} is read, as "
                f"players do: extract another to use it.",
            )
        return stream

    def _decode_packet(self, packet: "av.Packet[AudioStream]") -> Iterator[AudioFrame]:
        """Decode a packet; a damaged one is counted and passed over, as players do."""
        try:
            frames = packet.decode()
        except av.EOFError:
            return
        except av.InvalidDataError:
            self.num_damaged += 1
            if self.num_damaged > 10 * MIN_DAMAGED_PACKETS and not self.seconds:
                raise
            return
        for frame in frames:
            if not MIN_SAMPLE_RATE <= frame.sample_rate <= MAX_SAMPLE_RATE:
                raise UtteranceError(
                    f"{self.path}: sample rate is {frame.sample_rate} Hz; expected {MIN_SAMPLE_RATE} to "
                    f"{MAX_SAMPLE_RATE} Hz; its header is wrong: convert it again or delete it."
                )
            if frame.samples:
                yield frame

    def _report_losses(self, claimed_s: float | None) -> None:
        if self.part.length_ratio is not None:
            claimed_s = self.seconds * self.part.length_ratio
        copy_again = "copy it again from its source."
        if claimed_s is not None and self.seconds < claimed_s - MIN_MISSING_S:
            warn_once(
                log, f"{self.path}: ends early: {self.seconds:.1f} of {claimed_s:.1f} s could be read; {copy_again}"
            )
        elif self.num_damaged >= MIN_DAMAGED_PACKETS:
            warn_once(log, f"{self.path}: is damaged: {self.seconds:.1f} s could be read; {copy_again}")
        elif self.part.is_cut and claimed_s is None:
            warn_once(
                log,
                f"{self.path}: ends early: {self.seconds:.1f} s could be read, but its end is missing; {copy_again}",
            )


class FileSection:
    """A section of an opened file, which FFmpeg reads as if it were a file without a name.

    Args:
        file: the file, not buffered.
        start: first byte.
        stop: byte after the last.
    """

    def __init__(self, file: IO[bytes], start: int, stop: int) -> None:
        self.file, self.start, self.size, self.position = file, start, stop - start, 0

    def read(self, size: int) -> bytes:
        self.file.seek(self.start + self.position)
        content = self.file.read(max(min(size, self.size - self.position), 0))
        self.position += len(content)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        self.position = max(origin + offset, 0)
        return self.position

    def tell(self) -> int:
        return self.position


def _refuse_second_file(*_: Any) -> None:
    raise PermissionError("a recording must not refer to another file")


def _read_duration(container: InputContainer, stream: AudioStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    is_alone = len(container.streams) == 1
    return container.duration / av.time_base if is_alone and container.duration is not None else None


def _get_channel_names(frame: AudioFrame) -> tuple[str, ...]:
    """Return the names of a frame's channels, or () if the file only tells their number."""
    layout = frame.layout
    return () if "channels" in layout.name else tuple(channel.name for channel in layout.channels)


def _convert_to_float(frame: AudioFrame) -> Float[np.ndarray, "samples channels"]:
    """Return the samples of a frame as float32; integers of up to 24 bits stay exact."""
    if frame.format.is_planar and frame.layout.nb_channels > MAX_PLANES:
        (frame,) = av.AudioResampler(frame.format.packed.name, frame.layout, frame.sample_rate).resample(frame)
    values: np.ndarray = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    samples = values.astype(np.float32)
    if values.dtype == np.uint8:
        samples -= 128.0
        samples /= 128.0
    elif values.dtype.kind == "i":
        samples /= 2.0 ** (8 * values.dtype.itemsize - 1)
    return samples


def _build_decoding_error(path: Path, reason: str) -> UtteranceError:
    reason = (reason.splitlines() or ["unknown error"])[0].rstrip(".")
    return UtteranceError(f"{path}: cannot be decoded as audio ({reason}); convert it again or delete it.")
