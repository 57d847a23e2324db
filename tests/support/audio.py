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
