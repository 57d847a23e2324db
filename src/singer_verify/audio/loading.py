"""Recordings as samples of one channel at the sample rate asked for, refused where they cannot be used."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soxr
from jaxtyping import Float

from singer_verify.audio.decoding import AudioBlock, decode_blocks
from singer_verify.errors import UtteranceError

MIN_BANDWIDTH_FRACTION = 0.9  # of a recipe's bandwidth: 44.1 kHz will do for a recipe that reaches to 24 kHz
MIN_PEAK = 1e-4  # -80 dB of full scale: under the noise floor of any microphone
# +24 dB of full scale. Mixes in floats and lossy codecs exceed it by some decibels; 16-bit numbers that were not scaled
# reach more wherever the recording is louder than -66 dB.
MAX_PEAK = 16.0


def load_audio(path: Path, sample_rate: int, bandwidth_hz: float = 0.0) -> Float[np.ndarray, " samples"]:
    """Decode a file, average its channels and resample it.

    Args:
        path: wav, flac, ogg or mp3 (libsndfile), m4a, aac or mp4 (FFmpeg).
        sample_rate: of the result, in Hz.
        bandwidth_hz: the highest frequency that is needed of the file; resampling cannot bring back what it lacks.

    Raises:
        UtteranceError: the file cannot be decoded, is empty, holds NaN or infinite samples, is silent throughout,
            exceeds full scale by more than 24 dB, or has a sample rate under nine tenths of twice the bandwidth.
    """
    return np.concatenate(list(downmix_and_resample(decode_blocks(path), str(path), sample_rate, bandwidth_hz)))


def downmix_and_resample(
    blocks: Iterable[AudioBlock], name: str, sample_rate: int, bandwidth_hz: float
) -> Iterator[Float[np.ndarray, " samples"]]:
    """Blocks of a recording with their channels averaged, resampled as one signal; checked as `load_audio` says.

    Args:
        blocks: of the recording, in order.
        name: of the recording, with which a refusal begins.
        sample_rate: of the result, in Hz.
        bandwidth_hz: see `load_audio`.
    """
    peak, num_samples = 0.0, 0
    stream: soxr.ResampleStream | None = None
    for channels, native_rate in blocks:
        if not num_samples:
            _check_bandwidth(native_rate, bandwidth_hz, name)
            if native_rate != sample_rate:
                stream = soxr.ResampleStream(native_rate, sample_rate, 1, dtype="float32", quality="HQ")
        samples = channels.mean(axis=1, dtype=np.float32)
        if not np.isfinite(samples).all():
            raise UtteranceError(f"{name}: holds NaN or infinite samples; convert it again or delete it.")
        peak, num_samples = max(peak, float(np.abs(samples).max())), num_samples + len(samples)
        if peak > MAX_PEAK:
            raise UtteranceError(
                f"{name}: has samples of {peak:.0f}, expected floats in [-1, 1] (up to {MAX_PEAK:g} is let pass); "
                f"divide them by full scale (32768 where they were 16-bit numbers)."
            )
        yield samples if stream is None else stream.resample_chunk(samples)
    if not num_samples:
        raise UtteranceError(f"{name}: holds no samples; record it again or delete it.")
    if peak < MIN_PEAK:
        raise UtteranceError(f"{name}: is silent throughout (peak under -80 dB); record it again or delete it.")
    if stream is not None:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _check_bandwidth(native_rate: int, bandwidth_hz: float, name: str) -> None:
    if native_rate / 2 < MIN_BANDWIDTH_FRACTION * bandwidth_hz:
        raise UtteranceError(
            f"{name}: has a bandwidth of {native_rate / 2:g} Hz, the recipe reaches to {bandwidth_hz:g} Hz; "
            f"take a recording with a sample rate of {2 * bandwidth_hz:g} Hz, or a recipe that reaches less far."
        )
