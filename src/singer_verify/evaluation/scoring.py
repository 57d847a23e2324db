"""How alike two embeddings are: their cosine, or what a cohort of other singers makes of it."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from singer_verify.evaluation.calibration import Calibration
from singer_verify.evaluation.cohort import Cohort
from singer_verify.evaluation.overlap import MetSingers
from singer_verify.evaluation.projection import Projection

GIVEN = "given"  # origin of a threshold that a user named


@dataclass(frozen=True)
class Threshold:
    """From which score on two recordings are taken for one singer's.

    Attributes:
        score: of `Scoring.scores`, before calibration.
        origin: where it comes from, in words that a user reads: "equal error rate on 4 singers of ravdess_song/val";
            `GIVEN` for one that a user chose.
    """

    score: float
    origin: str

    @property
    def is_given(self) -> bool:
        return self.origin == GIVEN


@dataclass(frozen=True)
class SeveralRecordings:
    """What scores mean where one side is the mean of recordings of a singer.

    Such a mean scores higher than a single recording, and the more recordings, the higher: cosines are not calibrated
    over their number (Sholokhov, Kuzmin, Lee & Chng 2023, Probabilistic back-ends for online speaker recognition and
    clustering, ICASSP).

    Attributes:
        num_recordings: so many, or more.
        calibration: as of `Scoring`.
        threshold: likewise.
    """

    num_recordings: int
    calibration: Calibration
    threshold: Threshold


@dataclass(frozen=True)
class Sides:
    """Embeddings as they enter trials, on either side.

    Attributes:
        rows: (sides, embedding), of unit length.
        cohort_mean: (sides,), of the scores against the cohort; None without one.
        cohort_deviation: (sides,), likewise, never 0.
    """

    rows: Float[np.ndarray, "sides embedding"]
    cohort_mean: Float[np.ndarray, " sides"] | None = None
    cohort_deviation: Float[np.ndarray, " sides"] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: np.ndarray | slice) -> "Sides":
        parts = (self.rows, self.cohort_mean, self.cohort_deviation)
        return Sides(*(None if part is None else part[chosen] for part in parts))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Scoring:
    """Everything between embeddings and a decision; plain cosine, if nothing is given.

    Attributes:
        projection: centring, whitening or discriminant analysis; its rows have unit length again.
        cohort: singers against whom scores are normalised.
        calibration: from scores of two recordings to log-likelihood ratios; None where it was never fitted.
        threshold: of scores of two recordings; None where none is known.
        several: the same for singers known from several recordings, their numbers rising; empty where never fitted.
        threshold_singers: whom the threshold was fitted to; None where that is not recorded.
        calibration_singers: whom calibration and `several` were fitted to, likewise.
        cohort_singers: whom projection and cohort are made of, likewise.
    """

    projection: Projection | None = None
    cohort: Cohort | None = None
    calibration: Calibration | None = None
    threshold: Threshold | None = None
    several: tuple[SeveralRecordings, ...] = ()
    threshold_singers: MetSingers | None = None
    calibration_singers: MetSingers | None = None
    cohort_singers: MetSingers | None = None

    def against_mean_of(self, num_recordings: int) -> "Scoring":
        """The scoring where one side is the mean of so many recordings of a singer: calibration and threshold are those
        of the largest number fitted that is not above it; without one, those of two recordings."""
        fitting = [each for each in self.several if each.num_recordings <= num_recordings]
        return replace(self, calibration=fitting[-1].calibration, threshold=fitting[-1].threshold) if fitting else self

    def with_threshold(self, threshold: Threshold) -> "Scoring":
        """The scoring with this threshold in place of all others."""
        several = tuple(replace(each, threshold=threshold) for each in self.several)
        return replace(self, threshold=threshold, several=several)

    def sides(self, embeddings: Float[np.ndarray, "sides embedding"]) -> Sides:
        """What all scores of these embeddings need, computed once."""
        return self.projected_sides(embeddings if self.projection is None else self.projection(embeddings))

    def projected_sides(self, rows: Float[np.ndarray, "sides projected"]) -> Sides:
        """The same of rows that are projected already: those of other sides, or means of them."""
        return Sides(rows) if self.cohort is None else Sides(rows, *self.cohort.statistics(rows))

    def scores(self, left: Sides, right: Sides) -> Float[np.ndarray, "left right"]:
        """Every side of the left against every side of the right."""
        cosines: np.ndarray = left.rows @ right.rows.T
        return _normalised(cosines, left, right, np.s_[:, None])

    def pair_scores(self, left: Sides, right: Sides) -> Float[np.ndarray, " pairs"]:
        """Each side of the left against the one of the right in the same place."""
        cosines: np.ndarray = np.einsum("pe,pe->p", left.rows, right.rows)
        return _normalised(cosines, left, right, np.s_[:])


def _normalised(cosines: np.ndarray, left: Sides, right: Sides, as_column: tuple[slice, None] | slice) -> np.ndarray:
    """Symmetric score normalisation: the mean of what each side's cohort makes of the score."""
    if left.cohort_mean is None or right.cohort_mean is None:
        return cosines
    of_left = (cosines - left.cohort_mean[as_column]) / left.cohort_deviation[as_column]  # type: ignore[index]
    of_right = (cosines - right.cohort_mean) / right.cohort_deviation
    mean: np.ndarray = 0.5 * (of_left + of_right)
    return mean


COSINE = Scoring()
