"""A signal that asks of a recipe what a voice does."""

import numpy as np
from jaxtyping import Float

NUM_HARMONICS = 30
VIBRATO_HZ, VIBRATO_SEMITONES = 5.5, 0.8
REST_S = 0.15  # of digital silence, a second and a half after the beginning


def voice_signal(num_samples: int, sample_rate: int, seed: int) -> Float[np.ndarray, " samples"]:
    """Harmonics with vibrato and breath that swell from soft to loud, with a rest of silence.

    Args:
        num_samples: of the result.
        sample_rate: in Hz.
        seed: of pitch and breath.
    """
    generator = np.random.default_rng(seed)
    time_s = np.arange(num_samples) / sample_rate
    semitones = VIBRATO_SEMITONES * np.sin(2 * np.pi * VIBRATO_HZ * time_s)
    f0_hz = generator.uniform(110.0, 440.0) * 2.0 ** (semitones / 12.0)
    phase = 2 * np.pi * np.cumsum(f0_hz) / sample_rate
    harmonics = [k for k in range(1, NUM_HARMONICS) if 1.1 * k * f0_hz.max() < sample_rate / 2]
    tone = sum(np.sin(k * phase) / k**1.5 for k in harmonics)
    breath = 0.01 * generator.standard_normal(num_samples)
    swell = 0.02 + 0.3 * np.sin(np.pi * (0.1 + 0.4 * time_s) % np.pi) ** 2
    resting = (time_s % 3.0 >= 1.5) & (time_s % 3.0 < 1.5 + REST_S)
    voice: np.ndarray = np.where(resting, 0.0, swell * (tone + breath)).astype(np.float32)
    return voice
