"""Normalisation of frames, and the statistics it needs: means, variances and extremes, by utterance and pooled."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from singer_verify.errors import SingerVerifyError, require_choice

STATISTICS_CHUNK_FRAMES = 1 << 14  # read from the map at once: 65 MB in double precision at 512 bins
UTTERANCE_NORMALISATIONS = ("utterance_zero_one", "utterance_unit_variance", "utterance_bins", "utterance_mean")
GLOBAL_NORMALISATIONS = ("global_unit_variance", "global_bins")
NORMALISATIONS = ("none", *UTTERANCE_NORMALISATIONS, *GLOBAL_NORMALISATIONS)
STATISTICS_KEY = "statistics"  # in a recipe: mean and deviation of the training split, as lists
MIN_RELATIVE_DEVIATION = 1e-7  # relative to the mean; smaller deviations vanish in single precision


@dataclass(frozen=True)
class FrameStatistics:
    """Statistics of the frames of each utterance, in double precision.

    Attributes:
        num_frames: (utterances,).
        mean: (utterances, bins), over the utterance's frames.
        variance: (utterances, bins), mean squared distance from that mean.
        lowest: (utterances, bins).
        highest: (utterances, bins).
    """

    num_frames: Int[np.ndarray, " utterances"]
    mean: Float[np.ndarray, "utterances bins"]
    variance: Float[np.ndarray, "utterances bins"]
    lowest: Float[np.ndarray, "utterances bins"]
    highest: Float[np.ndarray, "utterances bins"]


_STATISTIC_FIELDS = tuple(field.name for field in fields(FrameStatistics))


def compute_frame_statistics(
    frames: Float[np.ndarray, "total bins"],
    offsets: Int[np.ndarray, " bounds"],
    chunk_frames: int = STATISTICS_CHUNK_FRAMES,
) -> FrameStatistics:
    """Compute the statistics of packed utterances in two passes over chunks of utterances.

    Args:
        frames: frames of all utterances, concatenated; may be memory-mapped.
        offsets: (utterances + 1,), start of each utterance; none is empty.
        chunk_frames: approximate number of frames in memory at once; at least one utterance.
    """
    parts = [
        _compute_chunk_statistics(frames, offsets[first : last + 1])
        for first, last in _split_into_chunks(offsets, chunk_frames)
    ]
    return FrameStatistics(np.diff(offsets), *(np.concatenate(part) for part in zip(*parts, strict=True)))


def pool_over_frames(statistics: FrameStatistics) -> tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """Compute mean and variance of each bin over all frames of all utterances."""
    weights = (statistics.num_frames / statistics.num_frames.sum())[:, None]
    mean = (weights * statistics.mean).sum(axis=0)
    variance = (weights * (statistics.variance + (statistics.mean - mean) ** 2)).sum(axis=0)
    return mean, variance


def merge_frame_statistics(parts: list[FrameStatistics]) -> FrameStatistics:
    """Merge the statistics of the parts of one utterance."""
    joined = FrameStatistics(*(np.concatenate([getattr(part, name) for part in parts]) for name in _STATISTIC_FIELDS))
    mean, variance = pool_over_frames(joined)
    count = joined.num_frames.sum(keepdims=True)
    return FrameStatistics(
        count, mean[None], variance[None], joined.lowest.min(0, keepdims=True), joined.highest.max(0, keepdims=True)
    )


def pool_over_bins(
    mean: Float[np.ndarray, "*rows bins"], variance: Float[np.ndarray, "*rows bins"]
) -> tuple[Float[np.ndarray, "*rows one"], Float[np.ndarray, "*rows one"]]:
    """Pool means and variances per bin into those of all values of a row."""
    pooled = mean.mean(axis=-1, keepdims=True)
    return pooled, (variance + (mean - pooled) ** 2).mean(axis=-1, keepdims=True)


def _split_into_chunks(offsets: Int[np.ndarray, " bounds"], chunk_frames: int) -> Iterator[tuple[int, int]]:
    """Yield the half-open range of utterances of each chunk."""
    first, num_utterances = 0, len(offsets) - 1
    while first < num_utterances:
        fitting = int(np.searchsorted(offsets, offsets[first] + chunk_frames, side="right")) - 1
        last = min(max(fitting, first + 1), num_utterances)
        yield first, last
        first = last


def _compute_chunk_statistics(
    frames: Float[np.ndarray, "total bins"], bounds: Int[np.ndarray, " bounds"]
) -> tuple[np.ndarray, ...]:
    values = frames[bounds[0] : bounds[-1]].astype(np.float64)
    starts, lengths = bounds[:-1] - bounds[0], np.diff(bounds)
    mean = np.add.reduceat(values, starts, axis=0) / lengths[:, None]
    lowest, highest = (reduce.reduceat(values, starts, axis=0) for reduce in (np.minimum, np.maximum))
    values -= np.repeat(mean, lengths, axis=0)
    variance = np.add.reduceat(np.square(values, out=values), starts, axis=0) / lengths[:, None]
    return mean, variance, lowest, highest


class Scaling(NamedTuple):
    """An affine map per utterance: frames x become (x - offset) / scale.

    Attributes:
        offset: (utterances, bins), or (utterances, 1) if all bins share one.
        scale: array of the same shape, never 0.
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
    domain segmental feature vector normalization for noise robust speech recognition"). `utterance_mean` gives each bin
    mean 0 and leaves its variance, which removes level and channel from logarithms (cepstral mean subtraction; Atal
    1974, "Effectiveness of linear prediction characteristics of the speech wave").
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
        if self.name == "utterance_mean":
            return Scaling(mean, np.ones_like(mean))
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
                f"or use a per-utterance normalisation ({', '.join(UTTERANCE_NORMALISATIONS)})."
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
