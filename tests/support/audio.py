"""Synthetic voices, and audio files that hold them."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from scipy.signal import lfilter

SAMPLE_RATE = 16_000
MakeCorpus = Callable[..., Path]


def sing(seed: int, seconds: float = 1.0, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A harmonic tone with vibrato, glide and some noise: enough of a voice to count as one."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * sample_rate)) / sample_rate
    semitones = 0.4 * np.sin(2 * np.pi * 5.5 * time_s) + np.sin(2 * np.pi * 0.4 * time_s)
    phase = 2 * np.pi * np.cumsum(generator.uniform(110, 330) * 2.0 ** (semitones / 12)) / sample_rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 6))
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


def sing_phrases(singer: int, take: int, seconds: float, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A synthetic singer: notes with vibrato and swell, through formants that are the singer's own.

    Args:
        singer: seed of the vocal tract and the register.
        take: seed of the melody.
        seconds: duration.
        sample_rate: sample rate in Hz.
    """
    voice, melody = np.random.default_rng(singer), np.random.default_rng([singer, take])
    num_samples = round(seconds * sample_rate)
    time_s = np.arange(num_samples) / sample_rate
    notes = melody.choice([0, 2, 4, 5, 7], size=max(round(2 * seconds), 1))
    glide = np.ones(sample_rate // 20) / (sample_rate // 20)
    semitones = np.convolve(np.repeat(notes, -(-num_samples // len(notes)))[:num_samples], glide, "same")
    semitones = semitones + voice.uniform(0.2, 0.6) * np.sin(2 * np.pi * voice.uniform(5.0, 6.5) * time_s)
    f0_hz = 130.0 * 2.0 ** (voice.uniform(0.0, 1.2) + semitones / 12)
    phase = 2 * np.pi * np.cumsum(f0_hz) / sample_rate
    partials = [k for k in range(1, 25) if k * f0_hz.max() < 0.45 * sample_rate]
    source = sum(np.sin(k * phase) / k for k in partials) + 0.02 * melody.standard_normal(num_samples)
    source = source * (0.7 + 0.3 * np.sin(2 * np.pi * 0.7 * time_s + melody.uniform(0, 6)))
    tract = voice.uniform(0.8, 1.25)
    for centre_hz, width_hz in ((700, 90), (1200, 110), (2600, 160), (3400, 250)):
        radius = np.exp(-np.pi * width_hz / sample_rate)
        angle = 2 * np.pi * centre_hz * tract / sample_rate
        source = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], source)
    return (0.3 * source / np.abs(source).max()).astype(np.float32)
