"""Scores as log-likelihood ratios: how much more likely a score is of one singer than of two."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logit


@dataclass(frozen=True)
class Calibration:
    """The natural logarithm of the likelihood ratio is slope × score + offset.

    Attributes:
        slope: positive.
        offset: at a score of 0.
        origin: on whose trials it was fitted, in words that a user reads.
    """

    slope: float
    offset: float
    origin: str

    def log_likelihood_ratio(self, scores: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        return np.asarray(self.slope * scores + self.offset)  # a single score stays an array

    def probability(self, scores: Float[np.ndarray, "*shape"], prior: float = 0.5) -> Float[np.ndarray, "*shape"]:
        """That both sides are one singer, where that is so in a share `prior` of all trials."""
        return np.asarray(expit(self.log_likelihood_ratio(scores) + logit(prior)))

    def threshold(self, prior: float) -> float:
        """The score from which on accepting costs least, both errors costing the same (Bayes)."""
        return float((-logit(prior) - self.offset) / self.slope)
