"""Scores as log-likelihood ratios: how much more likely a score is of one singer than of two."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize
from scipy.special import expit, logit

from singer_verify.errors import SingerVerifyError, require_between


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


MIN_PRIOR = 1e-6
SEPARABLE_NOTE = "; no scores of the two kinds overlap, so the ratios are kept to what this many trials can show"


def fit_calibration(
    scores: Float[np.ndarray, " trials"], is_target: Bool[np.ndarray, " trials"], origin: str, prior: float = 0.5
) -> Calibration:
    """Logistic regression of the answers on the scores, without regularisation, the two kinds weighted to the prior.

    Brümmer & Doddington 2013, Likelihood-ratio calibration using prior-weighted proper scoring rules, Interspeech; as
    in the FoCal toolkit. Where every target trial scores at least as high as every other trial, the likelihood has no
    maximum; each answer is then taken as slightly uncertain, as if one more trial of each kind had been seen
    (Platt 1999, Probabilistic outputs for support vector machines), and the origin says so.

    Args:
        scores: of `Scoring.compute_score_matrix`.
        is_target: whether both sides of a trial are one singer.
        origin: whose trials these are, in words.
        prior: share of target trials for which the fit is best, between 0 and 1.

    Raises:
        SingerVerifyError: a score is not finite, one kind of trials is missing, or a higher score does not mean that
            one singer is more likely, so that there is nothing to calibrate.
    """
    require_between(MIN_PRIOR, 1.0 - MIN_PRIOR, prior=prior)
    _check_calibration_scores(scores, is_target)
    is_separable = bool(scores[is_target].min() >= scores[~is_target].max())
    mean, deviation = scores.mean(dtype=np.float64), scores.std(dtype=np.float64)
    for_target, for_nontarget = _compute_label_weights(is_target, prior, is_separable)
    slope, offset = _fit_logistic_regression((scores - mean) / deviation, for_target, for_nontarget)
    slope, offset = slope / deviation, offset - slope * mean / deviation - float(logit(prior))
    if not slope > 0.0:
        raise SingerVerifyError(
            f"calibration on {origin}: a slope of {slope:.3g}, where higher scores must speak for one singer; this "
            f"model does not tell these singers apart, so its scores have no likelihood ratios."
        )
    return Calibration(float(slope), float(offset), origin + (SEPARABLE_NOTE if is_separable else ""))


def _check_calibration_scores(scores: np.ndarray, is_target: np.ndarray) -> None:
    if not np.isfinite(scores).all():
        raise SingerVerifyError(f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are NaN or infinite.")
    num_targets = int(is_target.sum())
    if num_targets in (0, is_target.size):
        raise SingerVerifyError(
            f"{num_targets} target and {is_target.size - num_targets} non-target trials; a calibration needs both "
            f"kinds: two utterances of one singer, and two singers."
        )
    if scores.min() == scores.max():
        raise SingerVerifyError(f"all {scores.size} scores are equal ({scores[0]:.4g}); there is nothing to calibrate.")


def _compute_label_weights(is_target: np.ndarray, prior: float, is_smoothed: bool) -> tuple[np.ndarray, np.ndarray]:
    """How much each trial speaks for either answer; all of them together, `prior` for one singer if not smoothed."""
    num_targets = is_target.sum()
    num_nontargets = is_target.size - num_targets
    weight = np.where(is_target, prior / num_targets, (1.0 - prior) / num_nontargets)
    share = np.where(is_target, 1.0, 0.0)  # of the trial's weight that speaks for one singer
    if is_smoothed:
        share = np.where(is_target, (num_targets + 1.0) / (num_targets + 2.0), 1.0 / (num_nontargets + 2.0))
    return weight * share, weight * (1.0 - share)


def _fit_logistic_regression(
    scores: Float[np.ndarray, " trials"],
    for_target: Float[np.ndarray, " trials"],
    for_nontarget: Float[np.ndarray, " trials"],
) -> tuple[float, float]:
    """Slope and offset of the log odds that cost least."""
    weight = for_target + for_nontarget

    def cost(line: np.ndarray) -> tuple[float, np.ndarray]:
        log_odds = line[0] * scores + line[1]
        loss = for_target @ np.logaddexp(0.0, -log_odds) + for_nontarget @ np.logaddexp(0.0, log_odds)
        residual = weight * expit(log_odds) - for_target
        return float(loss), np.array([residual @ scores, residual.sum()])

    slope, offset = minimize(cost, np.array([1.0, 0.0]), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    return float(slope), float(offset)
