"""Loading of recordings as mono samples at a given sample rate, with checks for unusable audio."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soxr
from jaxtyping import Float

from singer_verify.audio.channels import ChannelMix, choose_channel_mix
from singer_verify.audio.decoding import AudioBlock, decode_blocks
from singer_verify.errors import UtteranceError

MIN_BANDWIDTH_FRACTION = 0.9  # of a recipe's bandwidth: 44.1 kHz recordings suit a recipe that extends to 24 kHz
MIN_PEAK = 1e-4  # -80 dB relative to full scale, below the noise floor of any microphone
# +24 dB relative to full scale. Float mixes and lossy codecs exceed full scale by a few decibels; unscaled 16-bit
# integers exceed +24 dB in any recording louder than -66 dB.
MAX_PEAK = 16.0


def load_audio(path: Path, sample_rate: int, min_bandwidth_hz: float = 0.0) -> Float[np.ndarray, " samples"]:
    """Decode a file, mix its channels to one and resample it.

    Args:
        path: see `decode_blocks`.
        sample_rate: sample rate of the result, in Hz.
        min_bandwidth_hz: highest frequency the file has to contain; resampling cannot restore what it lacks.

    Returns:
        (samples,), float32.

    Raises:
        UtteranceError: the file cannot be decoded, is empty or silent, contains NaN or infinite samples, exceeds full
            scale by more than 24 dB, or its sample rate is below 90 % of twice the bandwidth.
    """
    mix, blocks = choose_channel_mix(lambda: decode_blocks(path))
    return np.concatenate(list(downmix_and_resample(blocks, mix, str(path), sample_rate, min_bandwidth_hz)))


def downmix_and_resample(
    blocks: Iterable[AudioBlock], mix: ChannelMix, name: str, sample_rate: int, min_bandwidth_hz: float
) -> Iterator[Float[np.ndarray, " samples"]]:
    """Mix the channels of consecutive blocks and resample them as one signal, with the checks of `load_audio`.

    Where the sample rate changes within the recording, each part is resampled from its own.

    Args:
        blocks: the recording's blocks in order.
        mix: mix of its channels.
        name: name of the recording, which starts each error message.
        sample_rate: sample rate of the result, in Hz.
        min_bandwidth_hz: highest frequency the recording has to contain.

    Yields:
        (samples,), float32, in blocks of varying length.

    Raises:
        UtteranceError: as for `load_audio`.
    """
    peak, num_samples, current_rate = 0.0, 0, 0
    resampler: soxr.ResampleStream | None = None
    for block in blocks:
        if block.sample_rate != current_rate:
            _check_bandwidth(block.sample_rate, min_bandwidth_hz, name)
            if resampler is not None:
                yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            current_rate, resampler = block.sample_rate, None
            if current_rate != sample_rate:
                resampler = soxr.ResampleStream(current_rate, sample_rate, 1, dtype="float32", quality="HQ")
        if not np.isfinite(block.samples).all():
            raise UtteranceError(f"{name}: contains NaN or infinite samples; convert it again or delete it.")
        samples = mix.apply(block.samples)
        peak, num_samples = max(peak, float(np.abs(samples).max())), num_samples + len(samples)
        if peak > MAX_PEAK:
            raise UtteranceError(
                f"{name}: peak is {peak:.0f}; expected floats in [-1, 1] (peaks up to {MAX_PEAK:g} are tolerated); "
                f"divide by full scale (32768 for 16-bit integers)."
            )
        yield samples if resampler is None else resampler.resample_chunk(samples)
    if not num_samples:
        raise UtteranceError(f"{name}: contains no samples; record it again or delete it.")
    if peak < MIN_PEAK:
        raise UtteranceError(f"{name}: is silent (peak below -80 dB); record it again or delete it.")
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _check_bandwidth(native_sample_rate: int, min_bandwidth_hz: float, name: str) -> None:
    if native_sample_rate / 2 < MIN_BANDWIDTH_FRACTION * min_bandwidth_hz:
        raise UtteranceError(
            f"{name}: bandwidth is {native_sample_rate / 2:g} Hz; the recipe extends to {min_bandwidth_hz:g} Hz; "
            f"use a recording at {2 * min_bandwidth_hz:g} Hz or a recipe with a lower maximum frequency."
        )
