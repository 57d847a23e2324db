"""Whether two recordings are one singer's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singer_verify.audio.sound import Sound
from singer_verify.errors import SingerVerifyError, require_between
from singer_verify.evaluation.scoring import Scoring, Threshold
from singer_verify.recognition.disagreement import disagreement
from singer_verify.recognition.embedded import Embedded
from singer_verify.recognition.embedder import Embedder

EVEN_ODDS = 0.5  # the prior of who gives none


@dataclass(frozen=True)
class Verdict:
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


def verify(
    embedder: Embedder,
    scoring: Scoring,
    left: str | Path | Sound,
    right: str | Path | Sound,
    prior: float | None = None,
) -> Verdict:
    """Compare two recordings.

    Args:
        embedder: the model.
        scoring: that belongs to it.
        left: a file, or samples at hand.
        right: likewise.
        prior: share of pairs that are one singer's, where the question is asked; the probability follows it, and so
            does the threshold, unless that was given too. None: even odds, and the scoring's own threshold.

    Raises:
        UtteranceError: a recording cannot be used.
        SingerVerifyError: a prior, and no calibration that it would have an effect on.
    """
    return verdict(scoring, embedder.windows(left), embedder.windows(right), prior)


def verdict(scoring: Scoring, left: Embedded, right: Embedded, prior: float | None = None) -> Verdict:
    """As `verify`, of recordings that are embedded."""
    sides = [scoring.sides(each.embedding[None]) for each in (left, right)]
    score = float(scoring.pair_scores(*sides)[0])
    threshold = threshold_at(scoring, prior)
    disagreeing = () if threshold is None else disagreement(scoring, threshold.score, left, right)
    is_one = left.windows.shape == right.windows.shape and np.array_equal(left.windows, right.windows)
    same = ("both sides are the same recording.",) if is_one else ()
    return verdict_on(scoring, score, prior, (*left.remarks, *right.remarks, *same, *disagreeing))


def verdict_on(scoring: Scoring, score: float, prior: float | None, remarks: tuple[str, ...]) -> Verdict:
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
        return Verdict(score, threshold, is_same, None, None, None, remarks)
    prior = EVEN_ODDS if prior is None else prior
    probability = float(scoring.calibration.probability(np.array([score]), prior)[0])
    if is_same is not None and is_same != (probability >= 0.5):
        remarks += (
            f"the threshold and the probability at a prior of {prior:g} speak for different decisions; take neither "
            f"for sure.",
        )
    ratio = float(scoring.calibration.log_likelihood_ratio(np.array([score]))[0])
    return Verdict(score, threshold, is_same, probability, prior, ratio, remarks)


def threshold_at(scoring: Scoring, prior: float | None) -> Threshold | None:
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
    if calibration is None or (known is not None and (prior is None or known.is_given)):
        return known
    prior = EVEN_ODDS if prior is None else prior
    origin = f"Bayes threshold for a prior of {prior:g}, calibrated on {calibration.origin}"
    return Threshold(calibration.threshold(prior), origin)
