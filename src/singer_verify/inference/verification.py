"""Verification: whether two recordings are of the same singer."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singer_verify.audio.clip import AudioClip
from singer_verify.audio.content import NO_CONTENT
from singer_verify.errors import SingerVerifyError, require_between
from singer_verify.evaluation.scoring.scoring import Scoring, Threshold
from singer_verify.inference.model import Model
from singer_verify.inference.windows import RecordingEmbedding

DEFAULT_PRIOR = 0.5  # of a same-singer pair


@dataclass(frozen=True)
class VerificationResult:
    """Comparison of two recordings.

    Attributes:
        score: similarity.
        threshold: scores at or above it mean the same singer, with its origin; None where the model has none.
        is_same: whether the score is at or above the threshold; None without one.
        probability: posterior of the same singer at the prior; None without a calibration.
        prior: prior of the probability; None without a calibration.
        log_likelihood_ratio: natural logarithm; None without a calibration.
        remarks: sentences on what makes the decision doubtful.
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
        scoring: scoring of its embeddings, see `load_model_scoring`.
        left: a file or a clip.
        right: the other recording, likewise.
        prior: prior probability of a same-singer pair; sets the probability, and the threshold unless that was given.
            None: 0.5, and the scoring's own threshold.

    Raises:
        UtteranceError: a recording cannot be used.
        SingerVerifyError: a prior without a calibration.
    """
    return verify_embeddings(scoring, model.embed_windows(left), model.embed_windows(right), prior)


def verify_embeddings(
    scoring: Scoring, left: RecordingEmbedding, right: RecordingEmbedding, prior: float | None = None
) -> VerificationResult:
    """Compare two recordings that are embedded already, see `verify`."""
    sides = [scoring.prepare_embeddings(recording.embedding[None]) for recording in (left, right)]
    score = float(scoring.compute_pair_scores(*sides)[0])
    is_one = left.content == right.content != NO_CONTENT or np.array_equal(left.windows, right.windows)
    same = ("both sides are the same recording.",) if is_one else ()
    return decide_score(scoring, score, prior, (*left.remarks, *right.remarks, *same))


def decide_score(scoring: Scoring, score: float, prior: float | None, remarks: tuple[str, ...]) -> VerificationResult:
    """Decide by a score.

    Args:
        scoring: scoring that gave the score.
        score: score of two sides.
        prior: see `verify`.
        remarks: earlier remarks, to which those of the decision are added.
    """
    threshold = resolve_threshold(scoring, prior)
    is_same = None if threshold is None else score >= threshold.score
    if scoring.calibration is None:
        return VerificationResult(score, threshold, is_same, None, None, None, remarks)
    prior = DEFAULT_PRIOR if prior is None else prior
    probability = float(scoring.calibration.probability(np.array([score]), prior)[0])
    if is_same is not None and is_same != (probability >= 0.5):
        remarks += (
            f"the threshold and the probability at a prior of {prior:g} lead to different decisions; the "
            f"result is uncertain.",
        )
    ratio = float(scoring.calibration.log_likelihood_ratio(np.array([score]))[0])
    return VerificationResult(score, threshold, is_same, probability, prior, ratio, remarks)


def resolve_threshold(scoring: Scoring, prior: float | None) -> Threshold | None:
    """Choose the threshold at or above which scores mean the same singer.

    A threshold given by the user stays, whatever the prior. Otherwise a prior sets the Bayes threshold, which follows
    from the calibration; without a prior, the scoring's own threshold decides, and without that, the calibration at a
    prior of 0.5.

    Args:
        scoring: scoring with a calibration, a threshold, both, or neither; then None is returned.
        prior: see `verify`.

    Raises:
        SingerVerifyError: a prior that is not between 0 and 1, or has no effect for want of a calibration.
    """
    calibration, threshold = scoring.calibration, scoring.threshold
    if prior is not None:
        require_between(1e-6, 1 - 1e-6, prior=prior)
        if calibration is None:
            raise SingerVerifyError(
                f"prior={prior:g}: has no effect, because the model is not calibrated and its scores are not "
                f"probabilities; calibrate it with singer-verify calibrate MODEL CORPUS, or leave the prior out."
            )
    if calibration is None or (threshold is not None and (prior is None or threshold.is_user_defined)):
        return threshold
    prior = DEFAULT_PRIOR if prior is None else prior
    origin = f"Bayes threshold for a prior of {prior:g}, calibrated on {calibration.origin}"
    return Threshold(calibration.threshold(prior), origin)
