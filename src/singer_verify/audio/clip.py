"""Recordings that are held in memory instead of in a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Num

from singer_verify.audio.decoding import (
    BLOCK_SAMPLES,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    AudioBlock,
    decode_blocks,
)
from singer_verify.errors import SingerVerifyError

MAX_CHANNELS = 32  # a second dimension larger than this is a transposed array


@dataclass(frozen=True)
class AudioClip:
    """A recording held in memory.

    Attributes:
        samples: (samples,) or (samples, channels); floats in [-1, 1], int16 or int32. A peak above `loading.MAX_PEAK`
            is an error once the clip is read.
        sample_rate: sample rate in Hz.
        name: name of the recording in messages.

    Raises:
        SingerVerifyError: the array's shape or dtype is unsupported, or the sample rate is not an integer from 1000 to
            768 000 Hz.
    """

    samples: Num[np.ndarray, " samples *channels"]
    sample_rate: int
    name: str = "the recording"

    def __post_init__(self) -> None:
        shape, dtype = self.samples.shape, self.samples.dtype
        if len(shape) not in (1, 2) or (len(shape) == 2 and not 1 <= shape[1] <= MAX_CHANNELS):
            raise SingerVerifyError(f"{self.name}: shape is {shape}; expected (samples,) or (samples, channels).")
        if not np.issubdtype(dtype, np.floating) and dtype not in (np.int16, np.int32):
            raise SingerVerifyError(f"{self.name}: dtype is {dtype}; expected floats in [-1, 1], int16 or int32.")
        if isinstance(self.sample_rate, bool) or not isinstance(self.sample_rate, int | np.integer):
            raise SingerVerifyError(f"{self.name}: sample_rate={self.sample_rate}: expected an integer, in Hz.")
        if not MIN_SAMPLE_RATE <= self.sample_rate <= MAX_SAMPLE_RATE:
            raise SingerVerifyError(
                f"{self.name}: sample_rate={self.sample_rate}: expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz."
            )

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.samples.shape))
        duration_s = len(self.samples) / self.sample_rate
        return f"AudioClip({self.name!r}, {duration_s:.2f} s, {shape} at {self.sample_rate} Hz)"

    def __str__(self) -> str:
        return self.name


def resolve_recording(
    recording: str | Path | AudioClip | Num[np.ndarray, " samples *channels"], sample_rate: int | None
) -> Path | AudioClip:
    """Return the path of a file, or a clip made from samples and their sample rate.

    Args:
        recording: a path, a clip, or an array of samples.
        sample_rate: sample rate in Hz; required for an array and ignored otherwise.

    Raises:
        SingerVerifyError: an array was given without a sample rate.
    """
    if isinstance(recording, str | Path):
        return Path(recording)
    if isinstance(recording, AudioClip):
        return recording
    if sample_rate is None:
        raise SingerVerifyError("sample_rate=None: the recording is an array of samples; give its sample_rate in Hz.")
    return AudioClip(np.asarray(recording), sample_rate)


def read_blocks(recording: Path | AudioClip) -> Iterator[AudioBlock]:
    """Yield the samples of a file or clip block by block, as float32 in [-1, 1].

    Raises:
        UtteranceError: the file cannot be decoded.
    """
    if isinstance(recording, Path):
        yield from decode_blocks(recording)
        return
    samples = recording.samples if recording.samples.ndim == 2 else recording.samples[:, None]
    scale = np.float32(1.0 if np.issubdtype(samples.dtype, np.floating) else -float(np.iinfo(samples.dtype).min))
    for first in range(0, len(samples), BLOCK_SAMPLES):
        yield AudioBlock(samples[first : first + BLOCK_SAMPLES].astype(np.float32) / scale, int(recording.sample_rate))
