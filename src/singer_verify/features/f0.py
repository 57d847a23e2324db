"""Fundamental frequency of a voice, frame by frame."""

from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from singer_verify.errors import require_at_least, require_between, require_one_of
from singer_verify.features.framing import require_one_frame, whole_hop_samples
from singer_verify.features.world_library import world_library

F0_METHODS = ("dio", "harvest")
FEWEST_PERIODS = 3  # of the lowest f0, in an utterance


class F0Tracker:
    """WORLD's estimates: DIO (Morise, Kawahara, Katayose 2009) refined by StoneMask, or Harvest (Morise 2017), slower.

    Shape: samples (samples,) → (frames,) in Hz, 0 where unvoiced; frame i at time i · hop, frames = 1 + samples // hop.

    Args:
        sample_rate: of the samples, in Hz.
        hop_ms: from frame to frame; must be a whole number of samples.
        f0_method: dio or harvest.
        f0_min_hz: lowest f0 that is looked for.
        f0_max_hz: highest.
    """

    def __init__(self, sample_rate: int, hop_ms: float, f0_method: str, f0_min_hz: float, f0_max_hz: float) -> None:
        require_at_least(1, sample_rate=sample_rate)
        require_one_of(F0_METHODS, f0_method=f0_method)
        require_between(40.0, sample_rate / 4, f0_min_hz=f0_min_hz, f0_max_hz=f0_max_hz)
        require_between(2.0 * f0_min_hz, sample_rate / 4, f0_max_hz=f0_max_hz)
        self.sample_rate, self.hop_ms, self.f0_method = sample_rate, float(hop_ms), f0_method
        self.f0_min_hz, self.f0_max_hz = float(f0_min_hz), float(f0_max_hz)
        self.hop_samples = whole_hop_samples(hop_ms, sample_rate)

    @property
    def settings(self) -> dict[str, Any]:
        names = ("sample_rate", "hop_ms", "f0_method", "f0_min_hz", "f0_max_hz")
        return {name: getattr(self, name) for name in names}

    def times_s(self, num_samples: int) -> Float[np.ndarray, " frames"]:
        """Of the frames."""
        return np.arange(1 + num_samples // self.hop_samples) * (self.hop_ms / 1000.0)

    def __call__(self, samples: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " frames"]:
        shortest = round(FEWEST_PERIODS * self.sample_rate / self.f0_min_hz)
        require_one_frame(len(samples), shortest, self.sample_rate)
        world = world_library()
        limits = {"f0_floor": self.f0_min_hz, "f0_ceil": self.f0_max_hz, "frame_period": self.hop_ms}
        f0_hz, times_s = getattr(world, self.f0_method)(samples, self.sample_rate, **limits)
        if self.f0_method == "dio":
            f0_hz = world.stonemask(samples, f0_hz, times_s, self.sample_rate)
        expected = len(self.times_s(len(samples)))  # WORLD's own count may round otherwise
        return np.pad(f0_hz, (0, max(0, expected - len(f0_hz))), mode="edge")[:expected]


def world_samples(samples: Float[Tensor, " samples"]) -> Float[np.ndarray, " samples"]:
    """Samples as WORLD takes them: double precision, in main memory."""
    return np.ascontiguousarray(samples.detach().cpu().double().numpy())
