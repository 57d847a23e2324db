"""Gaussian noise at a random signal-to-noise ratio."""

import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.data.augmentation.augmentation import compute_rms, generate_gaussian_noise, scale_uniform
from singer_verify.errors import require_between


class GaussianNoise:
    """Add white noise at a signal-to-noise ratio that is uniform in dB.

    Shape: crops (crops, samples), uniform (crops, 3) → (crops, samples).

    Args:
        p: probability that a crop is changed.
        min_snr_db: lowest ratio (loudest noise).
        max_snr_db: highest ratio (softest noise).
    """

    num_draws, context_ratio = 3, 1.0

    def __init__(self, p: float, min_snr_db: float, max_snr_db: float) -> None:
        require_between(0.0, 1.0, **{"noise.p": p})
        require_between(-20.0, 120.0, **{"noise.max_snr_db": max_snr_db})
        require_between(-20.0, max_snr_db, **{"noise.min_snr_db": min_snr_db})
        self.p, self.min_snr_db, self.max_snr_db = p, min_snr_db, max_snr_db

    def __call__(
        self, crops: Float[Tensor, "crops samples"], uniform: Float[Tensor, "crops 3"], sample_rate: int
    ) -> Float[Tensor, "crops samples"]:
        snr_db = scale_uniform(self.min_snr_db, self.max_snr_db, uniform[:, :1])
        scale = compute_rms(crops) * 10.0 ** (-snr_db / 20.0)
        return torch.addcmul(crops, scale, generate_gaussian_noise(uniform[:, 1:], crops.shape[1]))
