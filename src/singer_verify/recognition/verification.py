"""Whether two recordings are one singer's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singer_verify.audio.sound import Sound
from singer_verify.errors import require_between
from singer_verify.evaluation.scoring import Scoring, Threshold
from singer_verify.recognition.disagreement import disagreement
from singer_verify.recognition.embedded import Embedded
from singer_verify.recognition.embedder import Embedder


@dataclass(frozen=True)
class Verdict:
    """What is said of two recordings.

    Attributes:
        score: how alike they are.
        threshold: from which score on they are taken for one singer's, and where it comes from; None where none is
            known.
        is_same: whether the score is at or above the threshold; None without one.
        probability: that they are one singer's, at the prior that was given; None without a calibration.
        log_likelihood_ratio: natural logarithm; None without a calibration.
        remarks: sentences on what makes the verdict doubtful.
    """

    score: float
    threshold: Threshold | None
    is_same: bool | None
    probability: float | None
    log_likelihood_ratio: float | None
    remarks: tuple[str, ...]


def verify(
    embedder: Embedder, scoring: Scoring, left: str | Path | Sound, right: str | Path | Sound, prior: float = 0.5
) -> Verdict:
    """Compare two recordings.

    Args:
        embedder: the model.
        scoring: that belongs to it.
        left: a file, or samples at hand.
        right: likewise.
        prior: share of pairs that are one singer's, where the question is asked; the probability follows it, and so
            does the threshold, where the scoring has a calibration and no threshold.

    Raises:
        UtteranceError: a recording cannot be used.
    """
    return verdict(scoring, embedder.windows(left), embedder.windows(right), prior)


def verdict(scoring: Scoring, left: Embedded, right: Embedded, prior: float = 0.5) -> Verdict:
    """As `verify`, of recordings that are embedded."""
    sides = [scoring.sides(each.embedding[None]) for each in (left, right)]
    score = float(scoring.pair_scores(*sides)[0])
    threshold = threshold_at(scoring, prior)
    disagreeing = () if threshold is None else disagreement(scoring, threshold.score, score, left, right)
    return verdict_on(scoring, score, prior, (*left.remarks, *right.remarks, *disagreeing))


def verdict_on(scoring: Scoring, score: float, prior: float, remarks: tuple[str, ...]) -> Verdict:
    """What a score means.

    Args:
        scoring: that the score is of.
        score: of two sides.
        prior: see `verify`.
        remarks: what else is to be said.
    """
    threshold = threshold_at(scoring, prior)
    is_same = None if threshold is None else score >= threshold.score
    if scoring.calibration is None:
        return Verdict(score, threshold, is_same, None, None, remarks)
    probability = float(scoring.calibration.probability(np.array([score]), prior)[0])
    if is_same is not None and is_same != (probability >= 0.5):
        remarks += (f"the threshold and the probability at a prior of {prior:g} speak for different decisions.",)
    ratio = float(scoring.calibration.log_likelihood_ratio(np.array([score]))[0])
    return Verdict(score, threshold, is_same, probability, ratio, remarks)


def threshold_at(scoring: Scoring, prior: float) -> Threshold | None:
    """The scoring's own threshold; without one, that of its calibration; None where there is neither.

    Raises:
        SingerVerifyError: a prior that is not between 0 and 1.
    """
    require_between(1e-6, 1 - 1e-6, prior=prior)
    if scoring.threshold is not None or scoring.calibration is None:
        return scoring.threshold
    origin = f"Bayes at a prior of {prior:g}, calibrated on {scoring.calibration.origin}"
    return Threshold(scoring.calibration.threshold(prior), origin)
