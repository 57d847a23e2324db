"""Which frames of a recording are voiced."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from singer_verify.features.f0 import F0Tracker, world_samples

F0_MIN_HZ, F0_MAX_HZ = 60.0, 1100.0  # as the recipes of pitch have it by default


def is_voiced(
    samples: Float[Tensor, " samples"], sample_rate: int, hop_ms: float, num_frames: int
) -> Bool[Tensor, " frames"]:
    """Whether DIO finds a fundamental frequency from 60 to 1100 Hz around each of the times 0, hop, 2 hops, ...

    Frames beyond the recording, which some features add, are not voiced.

    Raises:
        UtteranceError: too short to tell.
        SingerVerifyError: pyworld is not installed.
    """
    f0_hz = F0Tracker(sample_rate, hop_ms, "dio", F0_MIN_HZ, F0_MAX_HZ)(world_samples(samples))
    voiced = np.zeros(num_frames, bool)
    voiced[: len(f0_hz)] = f0_hz[:num_frames] > 0
    return torch.from_numpy(voiced)
