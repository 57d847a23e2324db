"""Calibration: scores to log-likelihood ratios of one singer against two."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit, logit

from singer_verify.errors import SingerVerifyError, require_between

MIN_PRIOR = 1e-6
SEPARABLE_NOTE = (
    "; the scores of the two kinds do not overlap, so the ratios are limited to what this many trials can show"
)


@dataclass(frozen=True)
class Calibration:
    """Affine map of scores to natural logarithms of likelihood ratios: slope × score + offset.

    Attributes:
        slope: positive.
        offset: log-likelihood ratio at a score of 0.
        origin: description for users of the trials it was fitted to.
    """

    slope: float
    offset: float
    origin: str

    def log_likelihood_ratio(self, scores: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Return slope × score + offset."""
        return np.asarray(self.slope * scores + self.offset)  # a single score stays an array

    def probability(self, scores: Float[np.ndarray, "*shape"], prior: float = 0.5) -> Float[np.ndarray, "*shape"]:
        """Return the probability of a target trial, where `prior` is the share of target trials."""
        return np.asarray(expit(self.log_likelihood_ratio(scores) + logit(prior)))

    def threshold(self, prior: float) -> float:
        """Return the Bayes decision threshold, both errors costing the same."""
        return float((-logit(prior) - self.offset) / self.slope)


def fit_calibration(
    scores: Float[np.ndarray, " trials"], is_target: Bool[np.ndarray, " trials"], origin: str, prior: float = 0.5
) -> Calibration:
    """Fit a calibration: unregularised logistic regression of labels on scores, both kinds weighted to a prior.

    Brümmer & Doddington 2013, Likelihood-ratio calibration using prior-weighted proper scoring rules, Interspeech; as
    in the FoCal toolkit. Where every target trial scores at least as high as every other trial, the likelihood has no
    maximum; each label is then taken as slightly uncertain, as if one more trial of each kind had been observed
    (Platt 1999, Probabilistic outputs for support vector machines), and the origin says so.

    Args:
        scores: scores as `Scoring.scores` returns them.
        is_target: whether both sides of a trial are one singer.
        origin: description of these trials for users.
        prior: share of target trials for which the fit is best, between 0 and 1.

    Raises:
        SingerVerifyError: a score is not finite, one kind of trials is missing, or a higher score does not mean that
            one singer is more likely, so that there is nothing to calibrate.
    """
    from sklearn.linear_model import LogisticRegression  # slow to import and needed for fitting only

    require_between(MIN_PRIOR, 1.0 - MIN_PRIOR, prior=prior)
    _check_calibration_scores(scores, is_target)
    is_separable = bool(scores[is_target].min() >= scores[~is_target].max())
    mean, deviation = scores.mean(dtype=np.float64), scores.std(dtype=np.float64)
    standardised = ((scores - mean) / deviation)[:, None]
    num_targets, num_nontargets = int(is_target.sum()), int((~is_target).sum())
    weight = np.where(is_target, prior / num_targets, (1.0 - prior) / num_nontargets)
    regression = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-9)
    if is_separable:  # every trial twice, the second time with the other label and the weight of its uncertainty
        uncertain = weight / (np.where(is_target, num_targets, num_nontargets) + 2.0)
        standardised, weight = np.concatenate([standardised] * 2), np.concatenate([weight - uncertain, uncertain])
        is_target = np.concatenate([is_target, ~is_target])
    regression.fit(standardised, is_target, sample_weight=weight)
    slope = float(regression.coef_.item() / deviation)
    offset = float(regression.intercept_.item() - slope * mean - logit(prior))
    if not slope > 0.0:
        raise SingerVerifyError(
            f"calibration on {origin}: a slope of {slope:.3g}, but higher scores must mean the same singer; this model "
            f"does not tell these singers apart, so its scores have no likelihood ratios."
        )
    return Calibration(slope, offset, origin + (SEPARABLE_NOTE if is_separable else ""))


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
