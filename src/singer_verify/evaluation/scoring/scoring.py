"""Scoring of pairs of embeddings: projection, cosine, score normalisation, calibration and threshold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from singer_verify.errors import require_choice
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.domains import DomainCentring
from singer_verify.evaluation.scoring.normalisation import Cohort
from singer_verify.evaluation.scoring.projection import Projection
from singer_verify.evaluation.seen_singers import SeenSingers

USER_DEFINED = "given"  # origin of a threshold set by the user
MEAN_ENROLMENT = "mean"
# How a recording is scored against a singer known from several: against their mean, or by the mean of so many of its
# best scores against single ones.
ENROLMENT_SCORES = {MEAN_ENROLMENT: None, "max": 1, "best3": 3}
ENROLMENT_SCORE_WORDS = {MEAN_ENROLMENT: "mean", "max": "best", "best3": "mean of the best three"}


@dataclass(frozen=True)
class Threshold:
    """The lowest score at which two recordings are accepted as the same singer.

    Attributes:
        score: before calibration.
        origin: description for users: "equal error rate on 4 singers of ravdess_song/val", or `USER_DEFINED`.
    """

    score: float
    origin: str

    @property
    def is_user_defined(self) -> bool:
        return self.origin == USER_DEFINED


@dataclass(frozen=True)
class MultiEnrolmentCalibration:
    """Calibration and threshold where one side is a singer known from several recordings.

    A mean of several scores higher than a single recording, and more so the more recordings it has: cosines are not
    calibrated across their number (Sholokhov, Kuzmin, Lee & Chng 2023, Probabilistic back-ends for online speaker
    recognition and clustering, ICASSP).

    Attributes:
        num_recordings: smallest number of recordings it applies to.
        calibration: see `Scoring`.
        threshold: see `Scoring`.
    """

    num_recordings: int
    calibration: Calibration
    threshold: Threshold


@dataclass(frozen=True)
class TrialEmbeddings:
    """Embeddings prepared for scoring, on either side of trials.

    Attributes:
        embeddings: (sides, embedding), rows of unit length.
        cohort_mean: (sides,), mean of the scores against the cohort; None without one.
        cohort_std: (sides,), their standard deviation, never 0.
    """

    embeddings: Float[np.ndarray, "sides embedding"]
    cohort_mean: Float[np.ndarray, " sides"] | None = None
    cohort_std: Float[np.ndarray, " sides"] | None = None

    def __len__(self) -> int:
        return len(self.embeddings)

    def __getitem__(self, chosen: np.ndarray | slice) -> "TrialEmbeddings":
        parts = (self.embeddings, self.cohort_mean, self.cohort_std)
        return TrialEmbeddings(*(None if part is None else part[chosen] for part in parts))  # type: ignore[arg-type]

    def join(self, others: "TrialEmbeddings") -> "TrialEmbeddings":
        """Return these sides and, after them, others that the same scoring prepared."""
        pairs = (
            (self.embeddings, others.embeddings),
            (self.cohort_mean, others.cohort_mean),
            (self.cohort_std, others.cohort_std),
        )
        joined = (None if own is None or other is None else np.concatenate([own, other]) for own, other in pairs)
        return TrialEmbeddings(*joined)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Scoring:
    """Everything between embeddings and a decision; the plain cosine by default.

    Attributes:
        projection: centring, whitening or discriminant analysis, which keeps unit length.
        cohort: embeddings for score normalisation.
        calibration: map from scores of two recordings to log-likelihood ratios; None if never fitted.
        threshold: threshold on scores of two recordings; None if unknown.
        multi_enrolment: both for several enrolment recordings, by rising number; empty if never fitted.
        threshold_singers: singers the threshold was fitted to; None if not recorded.
        calibration_singers: singers calibration and `multi_enrolment` were fitted to; None if not recorded.
        cohort_singers: singers of centring, projection and cohort; None if not recorded.
        centring: means of domains, subtracted from embeddings before everything else; None without.
        enrolment_score: how singers known from several recordings are scored, of `ENROLMENT_SCORES`; `multi_enrolment`
            was fitted to such scores.
    """

    projection: Projection | None = None
    cohort: Cohort | None = None
    calibration: Calibration | None = None
    threshold: Threshold | None = None
    multi_enrolment: tuple[MultiEnrolmentCalibration, ...] = ()
    threshold_singers: SeenSingers | None = None
    calibration_singers: SeenSingers | None = None
    cohort_singers: SeenSingers | None = None
    centring: DomainCentring | None = None
    enrolment_score: str = MEAN_ENROLMENT

    @property
    def is_plain_cosine(self) -> bool:
        """Whether scores are cosines of the embeddings as they are."""
        return self.centring is None and self.projection is None and self.cohort is None

    def with_enrolment_score(self, enrolment_score: str) -> "Scoring":
        """Return the scoring with another way to score singers known from several recordings, without its calibrations.

        Raises:
            SingerVerifyError: there is no such way.
        """
        require_choice(tuple(ENROLMENT_SCORES), enrolment_score=enrolment_score)
        if enrolment_score == self.enrolment_score:
            return self
        return replace(self, enrolment_score=enrolment_score, multi_enrolment=())

    def with_enrolment_size(self, num_recordings: int) -> "Scoring":
        """Return the scoring for singers known from `num_recordings` recordings.

        Calibration and threshold are those fitted for the largest number not above it, or for single recordings.
        """
        usable = [fit for fit in self.multi_enrolment if fit.num_recordings <= num_recordings]
        return replace(self, calibration=usable[-1].calibration, threshold=usable[-1].threshold) if usable else self

    def with_threshold(self, threshold: Threshold) -> "Scoring":
        """Return the scoring with this threshold in place of all others."""
        multi_enrolment = tuple(replace(fit, threshold=threshold) for fit in self.multi_enrolment)
        return replace(self, threshold=threshold, multi_enrolment=multi_enrolment)

    def prepare_embeddings(
        self, embeddings: Float[np.ndarray, "sides embedding"], domains: Sequence[str] | np.ndarray | None = None
    ) -> TrialEmbeddings:
        """Centre and project embeddings and compute their cohort statistics, once for all scores.

        Args:
            embeddings: rows of unit length.
            domains: (sides,), domain of each, where the scoring centres by domain and none was chosen for all.

        Raises:
            SingerVerifyError: the scoring centres by domain, and that of an embedding is not known.
        """
        if self.centring is not None:
            embeddings = self.centring.centre(embeddings, domains)
        return self.prepare_projected(embeddings if self.projection is None else self.projection(embeddings))

    def prepare_projected(self, rows: Float[np.ndarray, "sides projected"]) -> TrialEmbeddings:
        """Prepare embeddings that are already projected: those of other sides, or means of them."""
        return (
            TrialEmbeddings(rows)
            if self.cohort is None
            else TrialEmbeddings(rows, *self.cohort.compute_statistics(rows))
        )

    def compute_score_matrix(self, left: TrialEmbeddings, right: TrialEmbeddings) -> Float[np.ndarray, "left right"]:
        """Score every left side against every right side."""
        cosines: np.ndarray = left.embeddings @ right.embeddings.T
        return _normalise_scores(cosines, left, right, np.s_[:, None])

    def compute_pair_scores(self, left: TrialEmbeddings, right: TrialEmbeddings) -> Float[np.ndarray, " pairs"]:
        """Score each left side against the right side at the same index."""
        cosines: np.ndarray = np.einsum("pe,pe->p", left.embeddings, right.embeddings)
        return _normalise_scores(cosines, left, right, np.s_[:])


def _normalise_scores(
    cosines: np.ndarray, left: TrialEmbeddings, right: TrialEmbeddings, as_column: tuple[slice, None] | slice
) -> np.ndarray:
    """Normalise scores symmetrically: the mean of the z-scores by either side's cohort statistics."""
    if left.cohort_mean is None or right.cohort_mean is None:
        return cosines
    left_scores = (cosines - left.cohort_mean[as_column]) / left.cohort_std[as_column]  # type: ignore[index]
    right_scores = (cosines - right.cohort_mean) / right.cohort_std
    mean: np.ndarray = 0.5 * (left_scores + right_scores)
    return mean


COSINE = Scoring()
