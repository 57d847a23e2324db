"""How alike two embeddings are: their cosine, or what a cohort of other singers makes of it."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.normalisation import Cohort
from singer_verify.evaluation.scoring.projection import Projection
from singer_verify.evaluation.seen_singers import SeenSingers

USER_DEFINED = "given"  # origin of a threshold that a user named


@dataclass(frozen=True)
class Threshold:
    """From which score on two recordings are taken for one singer's.

    Attributes:
        score: of `Scoring.compute_score_matrix`, before calibration.
        origin: where it comes from, in words that a user reads: "equal error rate on 4 singers of ravdess_song/val";
            `USER_DEFINED` for one that a user chose.
    """

    score: float
    origin: str

    @property
    def is_user_defined(self) -> bool:
        return self.origin == USER_DEFINED


@dataclass(frozen=True)
class MultiEnrolmentCalibration:
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
class TrialEmbeddings:
    """Embeddings as they enter trials, on either side.

    Attributes:
        embeddings: (sides, embedding), of unit length.
        cohort_mean: (sides,), of the scores against the cohort; None without one.
        cohort_std: (sides,), likewise, never 0.
    """

    embeddings: Float[np.ndarray, "sides embedding"]
    cohort_mean: Float[np.ndarray, " sides"] | None = None
    cohort_std: Float[np.ndarray, " sides"] | None = None

    def __len__(self) -> int:
        return len(self.embeddings)

    def __getitem__(self, chosen: np.ndarray | slice) -> "TrialEmbeddings":
        parts = (self.embeddings, self.cohort_mean, self.cohort_std)
        return TrialEmbeddings(*(None if part is None else part[chosen] for part in parts))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Scoring:
    """Everything between embeddings and a decision; plain cosine, if nothing is given.

    Attributes:
        projection: centring, whitening or discriminant analysis; its rows have unit length again.
        cohort: singers against whom scores are normalised.
        calibration: from scores of two recordings to log-likelihood ratios; None where it was never fitted.
        threshold: of scores of two recordings; None where none is known.
        multi_enrolment: the same for singers known from several recordings, their numbers rising; empty where never fitted.
        threshold_singers: whom the threshold was fitted to; None where that is not recorded.
        calibration_singers: whom calibration and `multi_enrolment` were fitted to, likewise.
        cohort_singers: whom projection and cohort are made of, likewise.
    """

    projection: Projection | None = None
    cohort: Cohort | None = None
    calibration: Calibration | None = None
    threshold: Threshold | None = None
    multi_enrolment: tuple[MultiEnrolmentCalibration, ...] = ()
    threshold_singers: SeenSingers | None = None
    calibration_singers: SeenSingers | None = None
    cohort_singers: SeenSingers | None = None

    def with_enrolment_size(self, num_recordings: int) -> "Scoring":
        """The scoring where one side is the mean of so many recordings of a singer: calibration and threshold are those
        of the largest number fitted that is not above it; without one, those of two recordings."""
        fitting = [each for each in self.multi_enrolment if each.num_recordings <= num_recordings]
        return replace(self, calibration=fitting[-1].calibration, threshold=fitting[-1].threshold) if fitting else self

    def with_threshold(self, threshold: Threshold) -> "Scoring":
        """The scoring with this threshold in place of all others."""
        several = tuple(replace(each, threshold=threshold) for each in self.multi_enrolment)
        return replace(self, threshold=threshold, multi_enrolment=several)

    def prepare_embeddings(self, embeddings: Float[np.ndarray, "sides embedding"]) -> TrialEmbeddings:
        """What all scores of these embeddings need, computed once."""
        return self.prepare_projected(embeddings if self.projection is None else self.projection(embeddings))

    def prepare_projected(self, rows: Float[np.ndarray, "sides projected"]) -> TrialEmbeddings:
        """The same of rows that are projected already: those of other sides, or means of them."""
        return (
            TrialEmbeddings(rows)
            if self.cohort is None
            else TrialEmbeddings(rows, *self.cohort.compute_statistics(rows))
        )

    def compute_score_matrix(self, left: TrialEmbeddings, right: TrialEmbeddings) -> Float[np.ndarray, "left right"]:
        """Every side of the left against every side of the right."""
        cosines: np.ndarray = left.embeddings @ right.embeddings.T
        return _normalise_scores(cosines, left, right, np.s_[:, None])

    def compute_pair_scores(self, left: TrialEmbeddings, right: TrialEmbeddings) -> Float[np.ndarray, " pairs"]:
        """Each side of the left against the one of the right in the same place."""
        cosines: np.ndarray = np.einsum("pe,pe->p", left.embeddings, right.embeddings)
        return _normalise_scores(cosines, left, right, np.s_[:])


def _normalise_scores(
    cosines: np.ndarray, left: TrialEmbeddings, right: TrialEmbeddings, as_column: tuple[slice, None] | slice
) -> np.ndarray:
    """Symmetric score normalisation: the mean of what each side's cohort makes of the score."""
    if left.cohort_mean is None or right.cohort_mean is None:
        return cosines
    of_left = (cosines - left.cohort_mean[as_column]) / left.cohort_std[as_column]  # type: ignore[index]
    of_right = (cosines - right.cohort_mean) / right.cohort_std
    mean: np.ndarray = 0.5 * (of_left + of_right)
    return mean


COSINE = Scoring()
