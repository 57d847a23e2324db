"""Synthetic voices, and audio files that hold them."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

SAMPLE_RATE = 16_000
MakeCorpus = Callable[..., Path]


def sing(seed: int, seconds: float = 1.0, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A harmonic tone with some noise: enough of a voice for reading and framing."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * sample_rate)) / sample_rate
    f0_hz = generator.uniform(110, 330)
    tone = sum(np.sin(2 * np.pi * k * f0_hz * time_s) / k for k in range(1, 6))
    return (0.2 * tone + 0.01 * generator.standard_normal(time_s.size)).astype(np.float32)


def write_m4a(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=sample_rate, layout="mono", bit_rate=128_000)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = sample_rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def write_audio(
    path: Path,
    samples: np.ndarray,
    sample_rate: int,
    codec: str,
    container: str | None = None,
    layout: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode samples, (samples,) or (samples, channels), with an encoder of FFmpeg.

    Args:
        path: file to write.
        samples: floats in [-1, 1].
        sample_rate: sample rate in Hz.
        codec: FFmpeg's name of the encoder.
        container: FFmpeg's name of the format; None takes that of the suffix.
        layout: FFmpeg's name of the channel layout; None is mono or stereo.
        options: options of the container.
    """
    channels = samples[:, None] if samples.ndim == 1 else samples
    layout = layout or {1: "mono", 2: "stereo"}[channels.shape[1]]
    with av.open(str(path), "w", format=container, container_options=options) as file:
        stream = file.add_stream(codec, rate=sample_rate, layout=layout, options={"strict": "experimental"})
        if codec == "wmav2":
            stream.bit_rate = 128_000
        add_audio(file, stream, channels, sample_rate, layout)
    return path


def add_audio(
    file: av.container.OutputContainer,
    stream: av.AudioStream,
    channels: np.ndarray,
    sample_rate: int,
    layout: str,
) -> None:
    """Encode samples, (samples, channels), as a stream of a file that is being written."""
    interleaved = np.ascontiguousarray(channels, np.float32).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=layout)
    frame.sample_rate = sample_rate
    resampler = av.AudioResampler(format=stream.format, layout=layout, rate=sample_rate, frame_size=1024)
    for chunk in [*resampler.resample(frame), *resampler.resample(None), None]:
        for packet in stream.encode(chunk):
            if packet.size or file.format.name == "flac":  # whose encoder ends with an empty packet for the header
                file.mux(packet)
