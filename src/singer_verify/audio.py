"""Audio files to samples: mono, float32, in [-1, 1], at the sample rate asked for."""

from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from jaxtyping import Float

from singer_verify.errors import UtteranceError

SOUNDFILE_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3"})
PYAV_SUFFIXES = frozenset({".m4a", ".aac", ".mp4"})
AUDIO_SUFFIXES = SOUNDFILE_SUFFIXES | PYAV_SUFFIXES
LEAST_REACH = 0.9  # of a recipe's bandwidth: 44.1 kHz will do for a recipe that reaches to 24 kHz
SILENCE_PEAK = 1e-4  # -80 dB of full scale: under the noise floor of any microphone


def load_audio(path: Path, sample_rate: int, bandwidth_hz: float = 0.0) -> Float[np.ndarray, " samples"]:
    """Decode a file, average its channels and resample it.

    Args:
        path: wav, flac, ogg or mp3 (libsndfile), m4a, aac or mp4 (FFmpeg).
        sample_rate: of the result, in Hz.
        bandwidth_hz: the highest frequency that is needed of the file; resampling cannot bring back what it lacks.

    Raises:
        UtteranceError: the file cannot be decoded, is empty, holds NaN or infinite samples, is silent throughout, or
            has a sample rate under nine tenths of twice the bandwidth.
    """
    decode = _decode_with_pyav if path.suffix.lower() in PYAV_SUFFIXES else _decode_with_soundfile
    channels, native_rate = decode(path)
    _check_bandwidth(native_rate, bandwidth_hz, path)
    samples = channels.mean(axis=1, dtype=np.float32)
    _check_samples(samples, path)
    if native_rate != sample_rate:
        samples = soxr.resample(samples, native_rate, sample_rate, quality="HQ")
    return samples


def _decode_with_soundfile(path: Path) -> tuple[Float[np.ndarray, "samples channels"], int]:
    try:
        return soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise _undecodable(path, error) from error


def _decode_with_pyav(path: Path) -> tuple[Float[np.ndarray, "samples channels"], int]:
    try:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
            frames = [part.to_ndarray() for frame in container.decode(stream) for part in planar.resample(frame)]
            frames += [part.to_ndarray() for part in planar.resample(None)]
            samples = np.concatenate(frames, axis=1) if frames else np.zeros((1, 0), np.float32)
            return samples.T, stream.rate
    except (av.FFmpegError, OSError, IndexError) as error:
        raise _undecodable(path, error) from error


def _undecodable(path: Path, error: Exception) -> UtteranceError:
    size = path.stat().st_size if path.exists() else None
    if size is None:
        return UtteranceError(f"{path}: no such file; give the path of an audio file.")
    if size == 0:
        return UtteranceError(f"{path}: the file is empty (0 bytes); copy it again from its source or delete it.")
    reason = str(error).splitlines()[0].rstrip(".")
    return UtteranceError(f"{path}: cannot be decoded as audio ({reason}); convert it again or delete it.")


def _check_bandwidth(native_rate: int, bandwidth_hz: float, path: Path) -> None:
    if native_rate / 2 < LEAST_REACH * bandwidth_hz:
        raise UtteranceError(
            f"{path}: has a bandwidth of {native_rate / 2:g} Hz, the recipe reaches to {bandwidth_hz:g} Hz; "
            f"take a recording with a sample rate of {2 * bandwidth_hz:g} Hz, or a recipe that reaches less far."
        )


def _check_samples(samples: Float[np.ndarray, " samples"], path: Path) -> None:
    if samples.size == 0:
        raise UtteranceError(f"{path}: holds no samples; record it again or delete it.")
    if not np.isfinite(samples).all():
        raise UtteranceError(f"{path}: holds NaN or infinite samples; convert it again or delete it.")
    if np.abs(samples).max() < SILENCE_PEAK:
        raise UtteranceError(f"{path}: is silent throughout (peak under -80 dB); record it again or delete it.")
