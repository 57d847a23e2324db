"""Fitting of a scoring to a model's embeddings: cohort, projection, calibration and thresholds."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.conditions import MIN_TRIALS_PER_KIND
from singer_verify.evaluation.metrics.cllr import compute_cllr, compute_min_cllr
from singer_verify.evaluation.metrics.error_rates import compute_eer
from singer_verify.evaluation.scoring.calibration import fit_calibration
from singer_verify.evaluation.scoring.enrolment import compute_singer_scores, draw_gallery
from singer_verify.evaluation.scoring.normalisation import Cohort
from singer_verify.evaluation.scoring.projection import Projection, fit_centring, fit_lda, fit_whitening
from singer_verify.evaluation.scoring.scoring import (
    COSINE,
    MultiEnrolmentCalibration,
    Scoring,
    Threshold,
    TrialEmbeddings,
)
from singer_verify.evaluation.seen_singers import SeenSingers

MAX_PAIR_SCORES_PER_BLOCK = 2**22
MAX_SCORES_PER_KIND = 2_000_000  # beyond that, more trials of the same singers no longer change the fit
ENROLMENT_SIZES = (2, 3, 5, 10)  # recordings; from one to the next, errors at a threshold change by a point or two
NUM_ENROLMENT_DRAWS = 10  # random choices of the enrolment recordings
PROJECTIONS, NORMS = ("none", "centre", "whiten", "lda"), ("none", "s-norm", "as-norm")
DEFAULT_MAX_NEAREST = 200  # a few hundred are common, with a cohort of thousands


@dataclass(frozen=True)
class PairScores:
    """Scores of all pairs of utterances, or of a random sample of them.

    Attributes:
        scores: (trials,).
        is_target: (trials,), whether both utterances are of the same singer.
        num_targets: number of target trials among all pairs.
        num_nontargets: number of non-target trials among all pairs.
    """

    scores: Float[np.ndarray, " trials"]
    is_target: Bool[np.ndarray, " trials"]
    num_targets: int
    num_nontargets: int


def score_all_pairs(
    sides: TrialEmbeddings,
    singer_index: Int[np.ndarray, " utterances"],
    scoring: Scoring,
    max_per_kind: int = MAX_SCORES_PER_KIND,
) -> PairScores:
    """Score every pair of utterances once, in blocks; of a kind with more pairs, sample about `max_per_kind`.

    Two scorings of the same utterances sample the same pairs.
    """
    counts = np.bincount(singer_index)
    num_targets = int((counts * (counts - 1)).sum()) // 2
    num_nontargets = len(sides) * (len(sides) - 1) // 2 - num_targets
    kept_share = np.array([min(1.0, max_per_kind / max(1, number)) for number in (num_nontargets, num_targets)])
    generator = np.random.default_rng(0)
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    step = max(1, MAX_PAIR_SCORES_PER_BLOCK // max(1, len(sides)))
    for first in range(0, len(sides), step):
        rows, columns = slice(first, first + step), slice(first, None)
        scores = scoring.compute_score_matrix(sides[rows], sides[columns])
        is_target = singer_index[rows, None] == singer_index[columns]
        kept = np.triu(np.ones(scores.shape, bool), k=1)
        if kept_share.min() < 1.0:
            kept &= generator.random(scores.shape, np.float32) < kept_share[is_target.astype(np.int8)]
        parts.append((scores[kept], is_target[kept]))
    scores, is_target = (np.concatenate(part) for part in zip(*parts, strict=True))
    return PairScores(scores, is_target, num_targets, num_nontargets)


@dataclass(frozen=True)
class FittedMultiEnrolment:
    """A calibration for several enrolment recordings, and the trials it was fitted to.

    Attributes:
        multi_enrolment: calibration and threshold.
        eer: equal error rate on the trials they were fitted to.
        num_trials: number of these trials.
    """

    multi_enrolment: MultiEnrolmentCalibration
    eer: float
    num_trials: int


def fit_multi_enrolment(
    sides: TrialEmbeddings, singer_index: Int[np.ndarray, " utterances"], scoring: Scoring, origin: str, prior: float
) -> tuple[FittedMultiEnrolment, ...]:
    """Fit calibration and threshold for each of `ENROLMENT_SIZES` for which there are enough recordings.

    At least two singers must have more recordings, and each draw must leave `MIN_TRIALS_PER_KIND` queries.

    Args:
        sides: prepared embeddings of the utterances.
        singer_index: singer of each utterance, numbered from 0 without a gap.
        scoring: scoring that prepared the sides.
        origin: description of the utterances for users.
        prior: target prior of the calibrations.

    Raises:
        SingerVerifyError: scores that cannot be calibrated.
    """
    fitted = []
    for number in ENROLMENT_SIZES:
        scores, is_target = _score_enrolment_trials(sides, singer_index, scoring, number)
        if len(scores) == 0:
            continue
        known_from = f"{origin}, each known from {number} recordings"
        eer, threshold = compute_eer(scores, is_target)
        calibration = fit_calibration(scores, is_target, known_from, prior)
        several = MultiEnrolmentCalibration(
            number, calibration, Threshold(threshold, f"equal error rate on {known_from}")
        )
        fitted.append(FittedMultiEnrolment(several, eer, len(scores)))
    return tuple(fitted)


def _score_enrolment_trials(
    sides: TrialEmbeddings, singer_index: np.ndarray, scoring: Scoring, number: int
) -> tuple[Float[np.ndarray, " trials"], Bool[np.ndarray, " trials"]]:
    """Score queries against all singers enrolled with `number` recordings, over several draws; none with too few."""
    scores, is_target = [np.empty(0)], [np.empty(0, bool)]
    for seed in range(NUM_ENROLMENT_DRAWS):
        gallery = draw_gallery(sides, singer_index, scoring, number, seed)
        num_enrolled = gallery.num_singers
        if num_enrolled < 2 or len(gallery.queries) < MIN_TRIALS_PER_KIND:
            break
        max_queries = max(MAX_SCORES_PER_KIND // (NUM_ENROLMENT_DRAWS * num_enrolled), MIN_TRIALS_PER_KIND)
        chosen = np.random.default_rng(seed).permutation(len(gallery.queries))[:max_queries]
        queries = sides[gallery.queries[chosen]]
        scores.append(compute_singer_scores(scoring, queries, gallery.singers, gallery.groups).ravel())
        is_target.append((gallery.target_index[chosen, None] == np.arange(num_enrolled)).ravel())
    return np.concatenate(scores), np.concatenate(is_target)


@dataclass(frozen=True)
class LabelledEmbeddings:
    """Embeddings and their singers.

    Attributes:
        embeddings: (utterances, embedding), rows of unit length.
        singers: (utterances,), names.
        recordings: (utterances,), identities of what they sound like, see `audio.content`; empty if unknown.
        domains: (utterances,), domain of each; None where no scoring needs it.
    """

    embeddings: Float[np.ndarray, "utterances embedding"]
    singers: np.ndarray
    recordings: tuple[int, ...] = ()
    domains: np.ndarray | None = None

    @property
    def singer_index(self) -> Int[np.ndarray, " utterances"]:
        return np.unique(self.singers, return_inverse=True)[1]

    @property
    def num_singers(self) -> int:
        return len(np.unique(self.singers))

    @property
    def seen_singers(self) -> SeenSingers:
        """These singers, in a form that recognises them in another corpus."""
        return SeenSingers.from_names(self.singers.tolist(), self.recordings)


@dataclass(frozen=True)
class FittedScoring:
    """A fitted scoring, and its metrics on the trials it was fitted to.

    Attributes:
        scoring: scoring with calibration and threshold, also for several enrolment recordings.
        num_trials: number of pairs of the utterances.
        num_targets: number of target trials among them.
        num_used: number of trials that calibration and threshold were fitted to and metrics computed on.
        metrics: `eer` and `min_cllr` of the scoring; `cllr` of the calibrated ratios; `cllr_uncalibrated`, with scores
            taken for ratios; `eer_cosine`, `min_cllr_cosine` and `cllr_cosine`, the same with the plain cosine.
        multi_enrolment: fits for several enrolment recordings.
    """

    scoring: Scoring
    num_trials: int
    num_targets: int
    num_used: int
    metrics: dict[str, float]
    multi_enrolment: tuple[FittedMultiEnrolment, ...]


def require_disjoint_singers(evaluated: set[str], cohort: set[str]) -> None:
    """Check that no singer is both evaluated and in the cohort.

    Raises:
        SingerVerifyError: a singer's name is in both.
    """
    if shared := sorted(evaluated & cohort):
        more = f" and {len(shared) - 5} more" if len(shared) > 5 else ""
        raise SingerVerifyError(
            f"{', '.join(shared[:5])}{more}: both evaluated and in the cohort; use a cohort of other singers, or "
            f"rename the folder of a singer who merely has the same name."
        )


def fit_projection(cohort: LabelledEmbeddings, project: str, num_dims: int | None = None) -> Projection | None:
    """Fit the projection of a name in `PROJECTIONS` to a cohort.

    Raises:
        SingerVerifyError: see `projection`.
    """
    fits = {
        "centre": lambda: fit_centring(cohort.embeddings),
        "whiten": lambda: fit_whitening(cohort.embeddings),
        "lda": lambda: fit_lda(cohort.embeddings, cohort.singer_index, num_dims),
    }
    return None if project == "none" else fits[project]()


def build_cohort(
    cohort: LabelledEmbeddings, projection: Projection | None, norm: str, num_nearest: int | None = None
) -> Cohort | None:
    """Build the cohort for a normalisation of a name in `NORMS`.

    Args:
        cohort: embeddings of other singers.
        projection: projection applied to them.
        norm: score normalisation.
        num_nearest: number of cohort embeddings that as-norm compares with; None takes
            `DEFAULT_MAX_NEAREST`, or a quarter of a small cohort.

    Raises:
        SingerVerifyError: the cohort is too small.
    """
    if norm == "none":
        return None
    rows = cohort.embeddings if projection is None else projection(cohort.embeddings)
    if norm == "s-norm":
        return Cohort(rows)
    return Cohort(rows, num_nearest or max(2, min(DEFAULT_MAX_NEAREST, len(rows) // 4)))


def fit_scoring(scoring: Scoring, labelled: LabelledEmbeddings, origin: str, prior: float = 0.5) -> FittedScoring:
    """Calibrate a scoring on all pairs of utterances, and set its threshold at their equal error rate.

    The same is done for several enrolment recordings, see `fit_multi_enrolment`.

    Args:
        scoring: projection and cohort, if any.
        labelled: utterances of singers who are not in the cohort.
        origin: description of these utterances for users: "4 singers of ravdess/val".
        prior: target prior of the calibration.

    Raises:
        SingerVerifyError: trials of one kind only, or scores that cannot be calibrated.
    """
    sides = scoring.prepare_embeddings(labelled.embeddings, labelled.domains)
    pairs = score_all_pairs(sides, labelled.singer_index, scoring)
    _, threshold = compute_eer(pairs.scores, pairs.is_target)
    calibration = fit_calibration(pairs.scores, pairs.is_target, origin, prior)
    several = fit_multi_enrolment(sides, labelled.singer_index, scoring, origin, prior)
    fitted = replace(
        scoring,
        calibration=calibration,
        threshold=Threshold(threshold, f"equal error rate on {origin}"),
        threshold_singers=labelled.seen_singers,
        calibration_singers=labelled.seen_singers,
        multi_enrolment=tuple(fit.multi_enrolment for fit in several),
    )
    cosine_pairs = pairs
    if not scoring.is_plain_cosine:
        cosine_pairs = score_all_pairs(COSINE.prepare_embeddings(labelled.embeddings), labelled.singer_index, COSINE)
    metrics = {
        f"{name}_cosine": value for name, value in _compute_scoring_metrics(cosine_pairs).items()
    } | _compute_scoring_metrics(pairs)
    metrics["cllr_uncalibrated"] = metrics["cllr"]
    metrics["cllr"] = compute_cllr(calibration.log_likelihood_ratio(pairs.scores), pairs.is_target)
    num_trials = pairs.num_targets + pairs.num_nontargets
    return FittedScoring(fitted, num_trials, pairs.num_targets, len(pairs.scores), metrics, several)


def _compute_scoring_metrics(pairs: PairScores) -> dict[str, float]:
    """Compute metrics of uncalibrated scores."""
    scores, is_target = pairs.scores, pairs.is_target
    return {
        "eer": compute_eer(scores, is_target)[0],
        "min_cllr": compute_min_cllr(scores, is_target),
        "cllr": compute_cllr(scores, is_target),
    }
