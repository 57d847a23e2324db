"""A scoring fitted to a model's embeddings: calibrated on some singers, with what a cohort of others tells."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.calibration_fitting import fit_calibration
from singer_verify.evaluation.cohort import Cohort
from singer_verify.evaluation.likelihood_cost import cllr, min_cllr
from singer_verify.evaluation.metrics import equal_error_rate
from singer_verify.evaluation.overlap import MetSingers
from singer_verify.evaluation.pair_scores import PairScores, all_pair_scores
from singer_verify.evaluation.projection import Projection
from singer_verify.evaluation.projection_fitting import centring, discriminant, whitening
from singer_verify.evaluation.scoring import COSINE, Scoring, Threshold
from singer_verify.evaluation.several_fitting import FittedSeveral, fit_several

PROJECTIONS, NORMS = ("none", "centre", "whiten", "lda"), ("none", "s-norm", "as-norm")
MOST_NEAREST = 200  # some hundreds are usual, of a cohort of thousands


@dataclass(frozen=True)
class SungBy:
    """Embeddings and who sings them.

    Attributes:
        embeddings: (utterances, embedding), rows of unit length.
        singers: (utterances,), names.
        recordings: (utterances,), by what they are known again (see `corpora.identities`); empty where it is not known.
    """

    embeddings: Float[np.ndarray, "utterances embedding"]
    singers: np.ndarray
    recordings: tuple[int, ...] = ()

    @property
    def singer_index(self) -> Int[np.ndarray, " utterances"]:
        return np.unique(self.singers, return_inverse=True)[1]

    @property
    def num_singers(self) -> int:
        return len(np.unique(self.singers))

    @property
    def known(self) -> MetSingers:
        """Them, as they are known again in another corpus."""
        return MetSingers.of(self.singers.tolist(), self.recordings)


@dataclass(frozen=True)
class FittedScoring:
    """A scoring, and what it gains on the trials it was calibrated on.

    Attributes:
        scoring: with calibration and threshold, those for several recordings among them.
        num_trials: of all pairs of the judged utterances.
        num_targets: of them, of one singer.
        num_used: trials that calibration and threshold were fitted to, and the figures are of.
        figures: `eer` and `min_cllr` of the scoring; `cllr` of the calibrated ratios; `cllr_uncalibrated`, of the
            scores taken for ratios; `eer_cosine`, `min_cllr_cosine` and `cllr_cosine`, the same of the plain cosine.
        several: what was fitted for singers known from several recordings.
    """

    scoring: Scoring
    num_trials: int
    num_targets: int
    num_used: int
    figures: dict[str, float]
    several: tuple[FittedSeveral, ...]


def refuse_shared_singers(judged: set[str], cohort: set[str]) -> None:
    """
    Raises:
        SingerVerifyError: a singer's name is among both.
    """
    if shared := sorted(judged & cohort):
        more = f" and {len(shared) - 5} more" if len(shared) > 5 else ""
        raise SingerVerifyError(
            f"{', '.join(shared[:5])}{more}: among the singers who are judged, and in the cohort; give a cohort of "
            f"other singers, or rename the folder of one who only has the same name."
        )


def projection_of(cohort: SungBy, project: str, num_dims: int | None = None) -> Projection | None:
    """The projection of a name in `PROJECTIONS`, fitted to a cohort.

    Raises:
        SingerVerifyError: see `projection_fitting`.
    """
    fits = {
        "centre": lambda: centring(cohort.embeddings),
        "whiten": lambda: whitening(cohort.embeddings),
        "lda": lambda: discriminant(cohort.embeddings, cohort.singer_index, num_dims),
    }
    return None if project == "none" else fits[project]()


def cohort_of(
    cohort: SungBy, projection: Projection | None, norm: str, num_nearest: int | None = None
) -> Cohort | None:
    """The cohort for a normalisation of a name in `NORMS`.

    Args:
        cohort: its singers.
        projection: of its embeddings.
        norm: how it is used.
        num_nearest: for as-norm; None takes `MOST_NEAREST`, of a small cohort a quarter.

    Raises:
        SingerVerifyError: a cohort too small.
    """
    if norm == "none":
        return None
    rows = cohort.embeddings if projection is None else projection(cohort.embeddings)
    if norm == "s-norm":
        return Cohort(rows)
    return Cohort(rows, num_nearest or max(2, min(MOST_NEAREST, len(rows) // 4)))


def fit_scoring(scoring: Scoring, judged: SungBy, origin: str, prior: float = 0.5) -> FittedScoring:
    """Calibrate a scoring on all pairs of utterances, and set its threshold at their equal error rate; the same for
    singers known from several utterances, see `fit_several`.

    Args:
        scoring: projection and cohort, if there are any.
        judged: utterances of singers who are not in the cohort.
        origin: who they are, in words: "4 singers of ravdess/val".
        prior: of the calibration.

    Raises:
        SingerVerifyError: trials of one kind only, or scores that cannot be calibrated.
    """
    sides = scoring.sides(judged.embeddings)
    pairs = all_pair_scores(sides, judged.singer_index, scoring)
    _, threshold = equal_error_rate(pairs.scores, pairs.is_target)
    calibration = fit_calibration(pairs.scores, pairs.is_target, origin, prior)
    several = fit_several(sides, judged.singer_index, scoring, origin, prior)
    fitted = replace(
        scoring,
        calibration=calibration,
        threshold=Threshold(threshold, f"equal error rate on {origin}"),
        threshold_singers=judged.known,
        calibration_singers=judged.known,
        several=tuple(each.several for each in several),
    )
    of_cosine = pairs
    if scoring.projection is not None or scoring.cohort is not None:
        of_cosine = all_pair_scores(COSINE.sides(judged.embeddings), judged.singer_index, COSINE)
    figures = {f"{name}_cosine": value for name, value in _figures(of_cosine).items()} | _figures(pairs)
    figures["cllr_uncalibrated"] = figures["cllr"]
    figures["cllr"] = cllr(calibration.log_likelihood_ratio(pairs.scores), pairs.is_target)
    num_trials = pairs.num_targets + pairs.num_nontargets
    return FittedScoring(fitted, num_trials, pairs.num_targets, len(pairs.scores), figures, several)


def _figures(pairs: PairScores) -> dict[str, float]:
    """Of scores that are not calibrated."""
    scores, is_target = pairs.scores, pairs.is_target
    return {
        "eer": equal_error_rate(scores, is_target)[0],
        "min_cllr": min_cllr(scores, is_target),
        "cllr": cllr(scores, is_target),
    }
