"""Silence before the first sound and after the last."""

import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.errors import UtteranceError

WINDOW_MS, HOP_MS = 64, 16


def sounding(samples: Float[Tensor, " samples"], sample_rate: int, trim_silence_db: float) -> tuple[int, int]:
    """First sample of the first loud window, and end of the last; silences between them are part of the singing.

    A window is loud if its mean power is less than `trim_silence_db` under that of the loudest one
    (`librosa.effects.trim`, with windows of 64 ms every 16 ms).

    Raises:
        UtteranceError: all samples are zero.
    """
    window, hop = (round(each_ms * sample_rate / 1000) for each_ms in (WINDOW_MS, HOP_MS))
    energy = torch.cat([samples.new_zeros(1, dtype=torch.float64), samples.double().square().cumsum(0)])
    centres = torch.arange(0, len(samples) + 1, hop)
    first = (centres - window // 2).clamp(min=0)
    end = (centres + window // 2).clamp(max=len(samples))
    power = energy[end] - energy[first]
    loud = (power > power.max() * 10.0 ** (-trim_silence_db / 10.0)).nonzero()
    if not len(loud):
        raise UtteranceError("is silent throughout; delete it.")
    return int(loud[0]) * hop, min((int(loud[-1]) + 1) * hop, len(samples))
