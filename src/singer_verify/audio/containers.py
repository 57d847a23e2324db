"""Bounds of the recordings in a file, from its headers: files are joined, cut short or wrongly labelled.

FFmpeg reads the first recording of a joined file only, believes a wrong data size, and quietly shortens the length of
a file that was cut.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

FLAC_START = b"fLaC\0\0\0\x22"  # with the header of its first block
EBML_ID, MATROSKA_SEGMENT_ID = b"\x1aE\xdf\xa3", b"\x18\x53\x80\x67"
ASF_HEADER_ID = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE_PROPERTIES_ID = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
OGG_PAGE_HEADER = struct.Struct("<4sBBqIIIB")
WAVPACK_HEADER = struct.Struct("<4sIHBBIIII")
WAVPACK_FIRST_BLOCK = 0x800  # flag of the first of several blocks that hold the same time
OGG_BEGINS, OGG_ENDS = 2, 4  # flags of a page
# What programs that cannot go back to the header write as a size in it: the length is unknown.
UNKNOWN_SIZES = (range(0x7FFF0000, 0x80000001), range(0xFFFF0000, 0x100000000))
TAGS = (b"TAG", b"ID3", b"APETAGEX")  # of MP3, which some programs append to any file
MIN_STRAY_BYTES = 64  # after the last chunk; fewer are padding
ID3_HEADER_BYTES = 10
MPEG_HEADER_BYTES = 8192  # in which the number of frames of an MP3 is noted


@dataclass(frozen=True)
class FilePart:
    """One recording of a file.

    Attributes:
        start: first byte.
        stop: byte after the last.
        options: options of FFmpeg's demuxer.
        is_cut: whether the file ends before the recording does.
        length_ratio: length by the header divided by the length of what is there, if the headers tell both.
        seconds: duration by the header, where FFmpeg does not read it.
        has_true_duration: whether the duration that FFmpeg reports is written in the header, rather than estimated.
        is_empty: whether it holds no samples, where FFmpeg would take what follows for them.
    """

    start: int
    stop: int
    options: dict[str, str] = field(default_factory=dict)
    is_cut: bool = False
    length_ratio: float | None = None
    seconds: float | None = None
    has_true_duration: bool = False
    is_empty: bool = False


class ChunkFormat(NamedTuple):
    """A file of chunks, each an id and a size: signature, bytes before the first chunk, layout of a chunk's header."""

    signature: bytes
    header_bytes: int
    chunk_header: struct.Struct
    size_covers_header: bool
    alignment: int
    data_id: bytes


RIFF_HEADER_BYTES = 12
RIFF_CHUNK = struct.Struct("<4sI")
CHUNK_FORMATS = (
    ChunkFormat(b"RIFF", RIFF_HEADER_BYTES, RIFF_CHUNK, False, 2, b"data"),
    ChunkFormat(b"RF64", RIFF_HEADER_BYTES, RIFF_CHUNK, False, 2, b"data"),
    ChunkFormat(b"BW64", RIFF_HEADER_BYTES, RIFF_CHUNK, False, 2, b"data"),
    ChunkFormat(b"RIFX", RIFF_HEADER_BYTES, struct.Struct(">4sI"), False, 2, b"data"),
    ChunkFormat(b"FORM", 12, struct.Struct(">4sI"), False, 2, b"SSND"),
    ChunkFormat(b"riff\x2e\x91\xcf\x11", 40, struct.Struct("<16sQ"), True, 8, b"data"),
    ChunkFormat(b"caff", 8, struct.Struct(">4sQ"), False, 1, b"data"),
)


def find_file_parts(content: mmap.mmap | bytes) -> list[FilePart]:
    """Find the recordings of a file: usually one, several where files were joined byte by byte.

    Args:
        content: the file.

    Returns:
        The parts in order; a file of an unknown format is one part.
    """
    start = _find_end_of_tag(content)
    signature = content[start : start + 16]
    if signature.startswith(b"OggS"):
        return list(_find_ogg_parts(content, start))
    if signature.startswith(b"fLaC"):
        return [_describe_flac_part(content, *bounds) for bounds in _split_at(content, start, FLAC_START)]
    if signature == ASF_HEADER_ID:
        return [_describe_asf_part(content, *bounds) for bounds in _split_at(content, start, ASF_HEADER_ID)]
    if signature.startswith(b"wvpk"):
        return list(_find_wavpack_parts(content, start))
    if signature[4:8] == b"ftyp":
        return list(_find_mp4_parts(content, start))
    if signature.startswith(EBML_ID):
        return [FilePart(start, len(content), is_cut=_is_matroska_cut(content, start), has_true_duration=True)]
    for chunk_format in CHUNK_FORMATS:
        if signature.startswith(chunk_format.signature):
            return list(_find_chunk_parts(content, start, chunk_format))
    has_true_duration = signature.startswith((b".snd", b"NIST")) or _notes_mpeg_frames(content, start)
    return [FilePart(0, len(content), has_true_duration=has_true_duration)]


def _find_end_of_tag(content: mmap.mmap | bytes) -> int:
    """Return where an ID3 tag at the beginning ends; some programs put it before any format."""
    if content[:3] != b"ID3" or len(content) < ID3_HEADER_BYTES:
        return 0
    shifts = (21, 14, 7, 0)
    return ID3_HEADER_BYTES + sum((byte & 127) << shift for byte, shift in zip(content[6:10], shifts, strict=True))


def _split_at(content: mmap.mmap | bytes, start: int, signature: bytes) -> list[tuple[int, int]]:
    starts = [start]
    while (following := content.find(signature, starts[-1] + len(signature))) >= 0:
        starts.append(following)
    return list(zip(starts, [*starts[1:], len(content)], strict=True))


def _describe_flac_part(content: mmap.mmap | bytes, start: int, stop: int) -> FilePart:
    num_samples = int.from_bytes(content[start + 21 : start + 26]) & ((1 << 36) - 1)  # 0: unknown
    return FilePart(start, stop, has_true_duration=num_samples > 0)


def _describe_asf_part(content: mmap.mmap | bytes, start: int, stop: int) -> FilePart:
    properties = content.find(ASF_FILE_PROPERTIES_ID, start, min(start + 65536, stop - 88))
    if properties < 0:
        return FilePart(start, stop)
    units_of_100_ns, _, preroll_ms = struct.unpack_from("<QQQ", content, properties + 64)
    seconds = units_of_100_ns / 1e7 - preroll_ms / 1e3
    return FilePart(start, stop, seconds=seconds if seconds > 0 else None)


def _find_ogg_parts(content: mmap.mmap | bytes, start: int) -> Iterator[FilePart]:
    """Divide a chain of Ogg streams where pages begin streams after others have begun to hold data."""
    position = start
    begun: set[int] = set()
    ended: set[int] = set()
    has_data = is_broken_off = False
    while position + OGG_PAGE_HEADER.size <= len(content):
        capture, _, flags, _, serial, _, _, num_segments = OGG_PAGE_HEADER.unpack_from(content, position)
        if capture != b"OggS":
            position = content.find(b"OggS", position + 1)
            if position < 0:
                break
            continue
        if flags & OGG_BEGINS and has_data:
            yield FilePart(start, position, is_cut=not begun <= ended)
            start, begun, ended, has_data = position, set(), set(), False
        has_data |= not flags & OGG_BEGINS
        if flags & OGG_BEGINS:
            begun.add(serial)
        if flags & OGG_ENDS:
            ended.add(serial)
        sizes_at = position + OGG_PAGE_HEADER.size
        position = sizes_at + num_segments + sum(content[sizes_at : sizes_at + num_segments])
        is_broken_off = position > len(content)
    yield FilePart(start, len(content), is_cut=is_broken_off or not begun <= ended)


def _find_wavpack_parts(content: mmap.mmap | bytes, start: int) -> Iterator[FilePart]:
    position = start
    while position + WAVPACK_HEADER.size <= len(content):
        name, size, *_, first_sample, _, flags = WAVPACK_HEADER.unpack_from(content, position)
        if name != b"wvpk":  # a tag, or damage
            position = content.find(b"wvpk", position + 1)
            if position < 0:
                break
            continue
        if position > start and first_sample == 0 and flags & WAVPACK_FIRST_BLOCK:
            yield FilePart(start, position, has_true_duration=True)
            start = position
        position += 8 + size
    yield FilePart(start, len(content), has_true_duration=True)


def _find_mp4_parts(content: mmap.mmap | bytes, start: int) -> Iterator[FilePart]:
    position = start
    while position + 8 <= len(content):
        size, name = struct.unpack_from(">I4s", content, position)
        if name == b"ftyp" and position > start:
            yield FilePart(start, position)
            start = position
        if size == 1 and position + 16 <= len(content):
            (size,) = struct.unpack_from(">Q", content, position + 8)
        if size < 8:  # 0: up to the end
            position = len(content)
        position += size
    is_cut = position > len(content) and size >= 8
    yield FilePart(start, len(content), is_cut=is_cut, has_true_duration=is_cut)


def _find_chunk_parts(content: mmap.mmap | bytes, start: int, chunk_format: ChunkFormat) -> Iterator[FilePart]:
    while start < len(content):
        part = _describe_chunk_part(content, start, chunk_format)
        yield part
        start = part.stop


def _describe_chunk_part(content: mmap.mmap | bytes, start: int, chunk_format: ChunkFormat) -> FilePart:
    """Describe a recording in chunks, from its header to the next header or the end of the file.

    A data size that leads to no further chunk is wrong: a counter of 32 bits that overflowed, or a header that was
    never completed. All that follows is samples then.
    """
    header, end = chunk_format.chunk_header, len(content)
    position, data_start, data_size, data_size_64 = start + chunk_format.header_bytes, start, None, None
    while position + header.size <= end:
        chunk_id, size = header.unpack_from(content, position)
        if chunk_id.startswith(chunk_format.signature[:4]):
            return FilePart(start, position)
        if data_size is not None and not _is_chunk(chunk_id, size, end - position):
            if end - position < MIN_STRAY_BYTES or chunk_id.startswith(TAGS):
                return FilePart(start, end)
            if chunk_format.header_bytes == RIFF_HEADER_BYTES and chunk_format.data_id == b"data":
                return FilePart(start, end, {"ignore_length": "1"})
            return FilePart(start, end, length_ratio=(end - data_start) / data_size if data_size else None)
        body = position + header.size
        if chunk_id == b"ds64" and body + 16 <= end:
            (data_size_64,) = struct.unpack_from("<Q", content, body + 8)
        if chunk_id.startswith(chunk_format.data_id):
            data_start, data_size = body, size - header.size * chunk_format.size_covers_header
            if data_size_64 is not None and data_size == 0xFFFFFFFF:
                data_size = data_size_64
            if data_size == 0 and chunk_format.data_id == b"data":
                return FilePart(start, end, is_empty=_begins_chunk(content, body, chunk_format))
            if data_size > end - body:
                is_unknown = data_size >= 1 << 62 or any(data_size in sizes for sizes in UNKNOWN_SIZES)
                ratio = None if is_unknown or body >= end else data_size / (end - body)
                return FilePart(start, end, is_cut=ratio is not None, length_ratio=ratio)
            size = data_size + header.size * chunk_format.size_covers_header
        position = (body - header.size * chunk_format.size_covers_header) + size
        position += -(position - start) % chunk_format.alignment
    return FilePart(start, end)


def _begins_chunk(content: mmap.mmap | bytes, position: int, chunk_format: ChunkFormat) -> bool:
    if position + chunk_format.chunk_header.size > len(content):
        return False
    chunk_id, size = chunk_format.chunk_header.unpack_from(content, position)
    return _is_chunk(chunk_id, size, len(content) - position)


def _is_chunk(chunk_id: bytes, size: int, available: int) -> bool:
    return all(32 <= byte < 127 for byte in chunk_id[:4]) and size <= available


def _is_matroska_cut(content: mmap.mmap | bytes, start: int) -> bool:
    """Return whether the file ends before its segment, which follows its header."""
    position = start
    for element in (EBML_ID, MATROSKA_SEGMENT_ID):
        position = content.find(element, position, position + 4096) + len(element)
        if position < len(element) or position >= len(content):
            return False
        num_bytes = 9 - content[position].bit_length()  # the first bit set tells how many bytes the size takes
        size = int.from_bytes(content[position : position + num_bytes]) & ((1 << 7 * num_bytes) - 1)
        position += num_bytes
        if element == EBML_ID:
            position += size
    is_unknown = size == (1 << 7 * num_bytes) - 1
    return not is_unknown and position + size > len(content)


def _notes_mpeg_frames(content: mmap.mmap | bytes, start: int) -> bool:
    """Return whether an MP3 begins with a frame that notes their number: else FFmpeg's duration is a guess."""
    head = content[start : start + MPEG_HEADER_BYTES]
    for name in (b"Xing", b"Info"):
        if (at := head.find(name)) >= 0:
            return len(head) > at + 7 and bool(head[at + 7] & 1)
    return b"VBRI" in head
