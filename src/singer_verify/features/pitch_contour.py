"""Pitch as a curve."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.errors import UtteranceError
from singer_verify.features.f0 import F0Tracker, world_samples
from singer_verify.features.pitch import A4_HZ


class PitchContour:
    """Logarithm of f0, in octaves above A4 (440 Hz), drawn straight through unvoiced gaps; and 1 where voiced, else 0.

    As in Blaauw and Bonada 2017, "A neural parametric singing synthesizer". An utterance without a voiced
    frame raises UtteranceError.

    Shape: samples (samples,) → (frames, 2), frames = 1 + samples // hop.

    Args:
        sample_rate: in Hz, of the samples that will be given.
        hop_ms: from frame to frame; must be a whole number of samples.
        f0_method: dio or harvest, see `F0Tracker`.
        f0_min_hz: lowest f0 that is looked for.
        f0_max_hz: highest.
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
        f0_hz = self.f0(world_samples(samples))
        voiced = np.flatnonzero(f0_hz)
        if voiced.size == 0:
            raise UtteranceError("has no voiced frame; this recipe needs singing with a pitch: delete it or repair it.")
        octaves = np.interp(np.arange(len(f0_hz)), voiced, np.log2(f0_hz[voiced] / A4_HZ))
        return torch.from_numpy(np.stack([octaves, f0_hz > 0.0], axis=1)).to(samples)
