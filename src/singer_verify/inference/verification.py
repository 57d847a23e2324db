"""Whether two recordings are one singer's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singer_verify.audio.clip import AudioClip
from singer_verify.errors import SingerVerifyError, require_between
from singer_verify.evaluation.scoring.scoring import Scoring, Threshold
from singer_verify.inference.model import Model
from singer_verify.inference.windows import RecordingEmbedding

DEFAULT_PRIOR = 0.5  # the prior of who gives none


@dataclass(frozen=True)
class VerificationResult:
    """What is said of two recordings.

    Attributes:
        score: how alike they are.
        threshold: from which score on they are taken for one singer's, and where it comes from; None where none is
            known.
        is_same: whether the score is at or above the threshold; None without one.
        probability: that they are one singer's, at the prior; None without a calibration.
        prior: that the probability takes for granted; None without a calibration.
        log_likelihood_ratio: natural logarithm; None without a calibration.
        remarks: sentences on what makes the verdict doubtful.
    """

    score: float
    threshold: Threshold | None
    is_same: bool | None
    probability: float | None
    prior: float | None
    log_likelihood_ratio: float | None
    remarks: tuple[str, ...]

    def __repr__(self) -> str:
        decision = {True: "same singer", False: "different singers", None: "undecided"}[self.is_same]
        threshold = "" if self.threshold is None else f", threshold={self.threshold.score:.4g}"
        probability = "" if self.probability is None else f", probability={self.probability:.3f}"
        return f"VerificationResult({decision}, score={self.score:.4g}{threshold}{probability})"


def verify(
    model: Model,
    scoring: Scoring,
    left: str | Path | AudioClip,
    right: str | Path | AudioClip,
    prior: float | None = None,
) -> VerificationResult:
    """Compare two recordings.

    Args:
        model: the model.
        scoring: that belongs to it.
        left: a file, or samples at hand.
        right: likewise.
        prior: share of pairs that are one singer's, where the question is asked; the probability follows it, and so
            does the threshold, unless that was given too. None: even odds, and the scoring's own threshold.

    Raises:
        UtteranceError: a recording cannot be used.
        SingerVerifyError: a prior, and no calibration that it would have an effect on.
    """
    return verify_embeddings(scoring, model.embed_windows(left), model.embed_windows(right), prior)


def verify_embeddings(
    scoring: Scoring, left: RecordingEmbedding, right: RecordingEmbedding, prior: float | None = None
) -> VerificationResult:
    """As `verify`, of recordings that are embedded."""
    sides = [scoring.prepare_embeddings(each.embedding[None]) for each in (left, right)]
    score = float(scoring.compute_pair_scores(*sides)[0])
    is_one = left.windows.shape == right.windows.shape and np.array_equal(left.windows, right.windows)
    same = ("both sides are the same recording.",) if is_one else ()
    return decide_score(scoring, score, prior, (*left.remarks, *right.remarks, *same))


def decide_score(scoring: Scoring, score: float, prior: float | None, remarks: tuple[str, ...]) -> VerificationResult:
    """What a score means.

    Args:
        scoring: that the score is of.
        score: of two sides.
        prior: see `verify`.
        remarks: what else is to be said.
    """
    threshold = resolve_threshold(scoring, prior)
    is_same = None if threshold is None else score >= threshold.score
    if scoring.calibration is None:
        return VerificationResult(score, threshold, is_same, None, None, None, remarks)
    prior = DEFAULT_PRIOR if prior is None else prior
    probability = float(scoring.calibration.probability(np.array([score]), prior)[0])
    if is_same is not None and is_same != (probability >= 0.5):
        remarks += (
            f"the threshold and the probability at a prior of {prior:g} speak for different decisions; take neither "
            f"for sure.",
        )
    ratio = float(scoring.calibration.log_likelihood_ratio(np.array([score]))[0])
    return VerificationResult(score, threshold, is_same, probability, prior, ratio, remarks)


def resolve_threshold(scoring: Scoring, prior: float | None) -> Threshold | None:
    """From which score on the decision is for one singer.

    A threshold that was given stays, whatever the prior. Otherwise a prior asks for the decision that costs least there
    (Bayes), which follows from the calibration; without one, the scoring's own threshold decides, and for want of that,
    the calibration at even odds.

    Args:
        scoring: with a calibration, a threshold, both, or neither; of neither, None is returned.
        prior: see `verify`.

    Raises:
        SingerVerifyError: a prior that is not between 0 and 1, or has no effect for want of a calibration.
    """
    calibration, known = scoring.calibration, scoring.threshold
    if prior is not None:
        require_between(1e-6, 1 - 1e-6, prior=prior)
        if calibration is None:
            raise SingerVerifyError(
                f"prior={prior:g}: has no effect, because the model is not calibrated, so that its scores tell no "
                f"probabilities; calibrate it with singer-verify calibrate MODEL CORPUS, or leave the prior out."
            )
    if calibration is None or (known is not None and (prior is None or known.is_user_defined)):
        return known
    prior = DEFAULT_PRIOR if prior is None else prior
    origin = f"Bayes threshold for a prior of {prior:g}, calibrated on {calibration.origin}"
    return Threshold(calibration.threshold(prior), origin)
