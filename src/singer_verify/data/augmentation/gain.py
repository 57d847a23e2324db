"""Random gain."""

from jaxtyping import Float
from torch import Tensor

from singer_verify.data.augmentation.augmentation import scale_uniform
from singer_verify.errors import require_between


class Gain:
    """Multiply a crop by a gain that is uniform in dB. Samples beyond full scale are not clipped.

    Shape: crops (crops, samples), uniform (crops, 1) → (crops, samples).

    Args:
        p: probability that a crop is changed.
        min_gain_db: smallest gain.
        max_gain_db: largest gain.
    """

    num_draws, context_ratio = 1, 1.0

    def __init__(self, p: float, min_gain_db: float, max_gain_db: float) -> None:
        require_between(0.0, 1.0, **{"gain.p": p})
        require_between(-60.0, 60.0, **{"gain.max_gain_db": max_gain_db})
        require_between(-60.0, max_gain_db, **{"gain.min_gain_db": min_gain_db})
        self.p, self.min_gain_db, self.max_gain_db = p, min_gain_db, max_gain_db

    def __call__(
        self, crops: Float[Tensor, "crops samples"], uniform: Float[Tensor, "crops 1"], sample_rate: int
    ) -> Float[Tensor, "crops samples"]:
        return crops * 10.0 ** (scale_uniform(self.min_gain_db, self.max_gain_db, uniform) / 20.0)
