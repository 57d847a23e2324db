"""Synthetic reverberation."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.data.augmentation.augmentation import (
    compute_rms,
    find_fft_size,
    generate_gaussian_noise,
    scale_uniform,
)
from singer_verify.errors import require_between


class Reverberation:
    """Convolve a crop with direct sound and an exponentially decaying tail of noise, then restore its power.

    Exponentially decaying white noise models the late part of a room's impulse response (Polack 1988; Moorer 1979,
    "About this reverberation business"). The time in which the tail decays by 60 dB and the energy ratio of direct
    sound to tail, in dB, are uniform. Reverberation of sound before the crop is not included.

    Shape: crops (crops, samples), uniform (crops, 4) → (crops, samples), with unchanged power.

    Args:
        p: probability that a crop is changed.
        min_decay_s: shortest decay by 60 dB.
        max_decay_s: longest decay by 60 dB.
        min_direct_db: smallest ratio of direct sound to tail.
        max_direct_db: largest ratio of direct sound to tail.
    """

    num_draws, context_ratio = 4, 1.0

    def __init__(
        self, p: float, min_decay_s: float, max_decay_s: float, min_direct_db: float, max_direct_db: float
    ) -> None:
        require_between(0.0, 1.0, **{"reverberation.p": p})
        require_between(0.01, 10.0, **{"reverberation.max_decay_s": max_decay_s})
        require_between(0.01, max_decay_s, **{"reverberation.min_decay_s": min_decay_s})
        require_between(-20.0, 60.0, **{"reverberation.max_direct_db": max_direct_db})
        require_between(-20.0, max_direct_db, **{"reverberation.min_direct_db": min_direct_db})
        self.p, self.decay_s, self.direct_db = p, (min_decay_s, max_decay_s), (min_direct_db, max_direct_db)

    def __call__(
        self, crops: Float[Tensor, "crops samples"], uniform: Float[Tensor, "crops 4"], sample_rate: int
    ) -> Float[Tensor, "crops samples"]:
        num_samples = crops.shape[1]
        tail_samples = min(num_samples, round(self.decay_s[1] * sample_rate))  # the rest would fall outside the crop
        time_s = torch.arange(1, tail_samples + 1, device=crops.device) / sample_rate
        decay_s, direct_db = (
            scale_uniform(*self.decay_s, uniform[:, :1]),
            scale_uniform(*self.direct_db, uniform[:, 1:2]),
        )
        tail = generate_gaussian_noise(uniform[:, 2:], tail_samples) * torch.exp(-math.log(1000.0) * time_s / decay_s)
        tail = tail * (10.0 ** (-direct_db / 20.0) / torch.linalg.vector_norm(tail, dim=1, keepdim=True))
        room = torch.nn.functional.pad(tail, (1, 0), value=1.0)  # direct sound, then the tail
        n_fft = find_fft_size(num_samples + tail_samples)
        wet = torch.fft.irfft(torch.fft.rfft(crops, n_fft).mul_(torch.fft.rfft(room, n_fft)), n_fft)[:, :num_samples]
        return wet * (compute_rms(crops) / compute_rms(wet).clamp(min=1e-10))
