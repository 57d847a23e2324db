"""Pitch as one-hot semitones, or as a continuous contour with a voicing flag."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.errors import UtteranceError
from singer_verify.features.f0 import F0Tracker, convert_samples_for_world

MIN_MIDI, MAX_MIDI = 36, 81  # C2 (65 Hz) to A5 (880 Hz)
UNVOICED_BIN = MAX_MIDI - MIN_MIDI + 1
A4_HZ, A4_MIDI = 440.0, 69


class Pitch:
    """The nearest equal-tempered semitone of each frame, one-hot: MIDI 36 to 81, then a bin for unvoiced frames.

    Notes outside the range are assigned to its outermost bins. This describes what is sung rather than who sings, so it
    serves as a condition in stacks. For f0, see `F0Tracker`.

    Shape: samples (samples,) → (frames, 47), frames = 1 + samples // hop.

    Args:
        sample_rate: sample rate of the input, in Hz.
        hop_ms: hop between frames; must be a whole number of samples.
        f0_method: dio, harvest or swift, see `F0Tracker`.
        f0_min_hz: lower limit of the f0 search.
        f0_max_hz: upper limit of the f0 search.
    """

    num_bins = UNVOICED_BIN + 1

    def __init__(
        self,
        sample_rate: int = 16_000,
        hop_ms: float = 10.0,
        f0_method: str = "dio",
        f0_min_hz: float = 60.0,
        f0_max_hz: float = 1100.0,
    ) -> None:
        self.f0 = F0Tracker(sample_rate, hop_ms, f0_method, f0_min_hz, f0_max_hz)
        self.sample_rate, self.hop_ms, self.bandwidth_hz = sample_rate, self.f0.hop_ms, self.f0.f0_max_hz

    @property
    def recipe(self) -> dict[str, Any]:
        return {"_target_": f"{__name__}.Pitch"} | self.f0.settings

    def __call__(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "frames bins"]:
        bins = torch.from_numpy(compute_pitch_bins(self.f0(convert_samples_for_world(samples))))
        return torch.nn.functional.one_hot(bins, self.num_bins).to(samples)


def compute_pitch_bins(f0_hz: Float[np.ndarray, " frames"]) -> np.ndarray:
    """Return the bin of the nearest semitone for each frame, (frames,), or the unvoiced bin where f0 is 0."""
    is_voiced = f0_hz > 0.0
    midi = A4_MIDI + 12.0 * np.log2(np.where(is_voiced, f0_hz, A4_HZ) / A4_HZ)
    semitones = np.clip(np.rint(midi), MIN_MIDI, MAX_MIDI).astype(np.int64)
    return np.where(is_voiced, semitones - MIN_MIDI, UNVOICED_BIN)


class PitchContour:
    """Log f0 in octaves above A4 (440 Hz), interpolated linearly across unvoiced gaps, and a binary voicing flag.

    As in Blaauw and Bonada 2017, "A neural parametric singing synthesizer". Raises
    UtteranceError for an utterance without a voiced frame.

    Shape: samples (samples,) → (frames, 2), frames = 1 + samples // hop.

    Args:
        sample_rate: sample rate of the input, in Hz.
        hop_ms: hop between frames; must be a whole number of samples.
        f0_method: dio, harvest or swift, see `F0Tracker`.
        f0_min_hz: lower limit of the f0 search.
        f0_max_hz: upper limit of the f0 search.
    """

    num_bins = 2

    def __init__(
        self,
        sample_rate: int = 16_000,
        hop_ms: float = 10.0,
        f0_method: str = "dio",
        f0_min_hz: float = 60.0,
        f0_max_hz: float = 1100.0,
    ) -> None:
        self.f0 = F0Tracker(sample_rate, hop_ms, f0_method, f0_min_hz, f0_max_hz)
        self.sample_rate, self.hop_ms, self.bandwidth_hz = sample_rate, self.f0.hop_ms, self.f0.f0_max_hz

    @property
    def recipe(self) -> dict[str, Any]:
        return {"_target_": f"{__name__}.PitchContour"} | self.f0.settings

    def __call__(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "frames bins"]:
        f0_hz = self.f0(convert_samples_for_world(samples))
        voiced = np.flatnonzero(f0_hz)
        if voiced.size == 0:
            raise UtteranceError("has no voiced frame; this recipe needs singing with a pitch: delete it or repair it.")
        octaves = np.interp(np.arange(len(f0_hz)), voiced, np.log2(f0_hz[voiced] / A4_HZ))
        return torch.from_numpy(np.stack([octaves, f0_hz > 0.0], axis=1)).to(samples)
