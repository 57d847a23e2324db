"""Normalisation of frames by statistics of their utterance or of the whole training split."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from singer_verify.errors import SingerVerifyError, require_choice
from singer_verify.features.statistics import (
    FrameStatistics,
    compute_frame_statistics,
    pool_over_bins,
    pool_over_frames,
)

GLOBAL_NORMALISATIONS = ("global_unit_variance", "global_bins")
NORMALISATIONS = ("none", "utterance_zero_one", "utterance_unit_variance", "utterance_bins", *GLOBAL_NORMALISATIONS)
STATISTICS_KEY = "statistics"  # in a recipe: mean and deviation of the training split, as lists
MIN_RELATIVE_DEVIATION = 1e-7  # relative to the mean; smaller deviations vanish in single precision


class Scaling(NamedTuple):
    """An affine map per utterance: frames x become (x - offset) / scale.

    Attributes:
        offset: (utterances, bins), or (utterances, 1) if all bins share one.
        scale: of the same shape, never 0.
    """

    offset: Float[np.ndarray, "utterances width"]
    scale: Float[np.ndarray, "utterances width"]

    def apply(
        self, frames: Float[np.ndarray, "crops frames bins"], utterances: Int[np.ndarray, " crops"]
    ) -> Float[np.ndarray, "crops frames bins"]:
        """Normalise crops by the scaling of their utterances, in single precision."""
        offset, scale = (part[utterances, None].astype(np.float32) for part in self)
        scaled: np.ndarray = (frames.astype(np.float32) - offset) / scale
        return scaled


class Normalisation:
    """The normalisation of a recipe, by name, with the statistics of the training split if it needs them.

    `none` changes nothing. `utterance_zero_one` maps an utterance's lowest value to 0 and its highest to 1;
    `utterance_unit_variance` gives all values of an utterance jointly mean 0 and variance 1; `utterance_bins` does
    so for each bin separately (cepstral mean and variance normalisation; Viikki and Laurila 1998, "Cepstral
    domain segmental feature vector normalization for noise robust speech recognition").
    `global_unit_variance` and `global_bins` take mean and variance over all frames of the training split, of all bins
    together or of each (Schlüter and Grill 2015, "Exploring data augmentation for improved singing voice detection
    with neural networks"). Crops are normalised by the statistics of their whole utterance. Constant values become 0.

    Args:
        name: one of the above.
        mean: (bins,) or (1,), mean of the training split; None for utterance normalisations and before `fit`.
        deviation: standard deviation, like `mean`.

    Raises:
        SingerVerifyError: unknown name.
    """

    def __init__(
        self,
        name: str = "none",
        mean: Float[np.ndarray, " width"] | None = None,
        deviation: Float[np.ndarray, " width"] | None = None,
    ) -> None:
        require_choice(NORMALISATIONS, **{"features.normalise": name})
        self.name, self.mean, self.deviation = name, mean, deviation

    @classmethod
    def from_recipe(cls, recipe: dict[str, Any]) -> "Normalisation":
        """Build the normalisation that a recipe names, `none` by default.

        Raises:
            SingerVerifyError: unknown normalisation, or malformed statistics.
        """
        statistics = recipe.get(STATISTICS_KEY)
        mean, deviation = (
            (None, None)
            if statistics is None
            else (_parse_statistics(statistics, key) for key in ("mean", "deviation"))
        )
        return cls(str(recipe.get("normalise", "none")), mean, deviation)

    @property
    def statistics(self) -> dict[str, dict[str, list[float]]]:
        """Plain values that a checkpoint's recipe stores besides the name; empty unless a global one is fitted."""
        if self.mean is None or self.deviation is None:
            return {}
        return {STATISTICS_KEY: {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}}

    @property
    def needs_training_split(self) -> bool:
        return self.name in GLOBAL_NORMALISATIONS and self.mean is None

    def fit(self, training: FrameStatistics) -> "Normalisation":
        """Return a copy fitted to the training split, or self if no statistics are needed."""
        if not self.needs_training_split:
            return self
        mean, variance = pool_over_frames(training)
        if self.name == "global_unit_variance":
            mean, variance = pool_over_bins(mean, variance)
        return Normalisation(self.name, mean, np.sqrt(variance))

    def compute_scaling(self, frames: Float[np.ndarray, "total bins"], offsets: Int[np.ndarray, " bounds"]) -> Scaling:
        """Compute the scaling of each of several packed utterances, see `compute_frame_statistics`.

        Raises:
            SingerVerifyError: a global normalisation was not fitted.
        """
        if self.name in GLOBAL_NORMALISATIONS:
            return self._build_global_scaling(len(offsets) - 1)
        return self.compute_scaling_from_statistics(compute_frame_statistics(frames, offsets))

    def compute_scaling_from_statistics(self, statistics: FrameStatistics) -> Scaling:
        """Compute the scaling of utterances from their statistics; for utterance normalisations only."""
        if self.name == "utterance_zero_one":
            lowest, highest = statistics.lowest.min(1, keepdims=True), statistics.highest.max(1, keepdims=True)
            return Scaling(lowest, _compute_divisor(highest - lowest, lowest))
        mean, variance = statistics.mean, statistics.variance
        if self.name == "utterance_unit_variance":
            mean, variance = pool_over_bins(mean, variance)
        return Scaling(mean, _compute_divisor(np.sqrt(variance), mean))

    def normalise(self, frames: Float[np.ndarray, "frames bins"]) -> Float[np.ndarray, "frames bins"]:
        """Normalise all frames of one utterance."""
        if self.name == "none":
            return frames
        scaling = self.compute_scaling(frames, np.array([0, len(frames)]))
        return scaling.apply(frames[None], np.zeros(1, np.int64))[0]

    def _build_global_scaling(self, num_utterances: int) -> Scaling:
        if self.mean is None or self.deviation is None:
            raise SingerVerifyError(
                f"features.normalise={self.name}: the recipe carries no statistics of a training split; train with it, "
                f"or use a per-utterance normalisation ({', '.join(NORMALISATIONS[1:4])})."
            )
        parts = self.mean, _compute_divisor(self.deviation, self.mean)
        return Scaling(*(np.broadcast_to(part, (num_utterances, len(part))) for part in parts))


NO_NORMALISATION = Normalisation()


def _parse_statistics(statistics: Any, key: str) -> Float[np.ndarray, " bins"]:
    values = statistics.get(key) if isinstance(statistics, dict) else None
    if not isinstance(values, list) or not values or not all(isinstance(value, float) for value in values):
        raise SingerVerifyError(f"recipe.statistics.{key}: expected a list of numbers; not created by singer_verify.")
    return np.array(values)


def _compute_divisor(
    spread: Float[np.ndarray, "*shape"], level: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Return the spread, or 1 where it is negligible beside the level, so that constant values become 0."""
    return np.where(spread <= MIN_RELATIVE_DEVIATION * np.abs(level), 1.0, spread)
