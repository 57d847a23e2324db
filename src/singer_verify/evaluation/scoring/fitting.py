"""The scores of all pairs of utterances, in memory that does not grow with their number."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.conditions import MIN_TRIALS_PER_KIND
from singer_verify.evaluation.metrics.cllr import compute_cllr, compute_min_cllr
from singer_verify.evaluation.metrics.error_rates import compute_eer
from singer_verify.evaluation.scoring.calibration import fit_calibration
from singer_verify.evaluation.scoring.enrolment import draw_gallery
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
MAX_SCORES_PER_KIND = 2_000_000  # beyond these, more trials of the same singers no longer change a line or a threshold


@dataclass(frozen=True)
class PairScores:
    """Trials, all there are or a draw of them.

    Attributes:
        scores: (trials,).
        is_target: (trials,), whether one singer sings both.
        num_targets: of all pairs.
        num_nontargets: of all pairs.
    """

    scores: Float[np.ndarray, " trials"]
    is_target: Bool[np.ndarray, " trials"]
    num_targets: int
    num_nontargets: int


def score_all_pairs(
    sides: TrialEmbeddings,
    singer_index: Int[np.ndarray, " utterances"],
    scoring: Scoring,
    most: int = MAX_SCORES_PER_KIND,
) -> PairScores:
    """Every utterance against every other, once; of a kind with more than about `most`, as many, drawn by chance.

    Two scorings of the same utterances keep the same trials.
    """
    counts = np.bincount(singer_index)
    num_targets = int((counts * (counts - 1)).sum()) // 2
    num_nontargets = len(sides) * (len(sides) - 1) // 2 - num_targets
    kept_share = np.array([min(1.0, most / max(1, number)) for number in (num_nontargets, num_targets)])
    generator = np.random.default_rng(0)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    step = max(1, MAX_PAIR_SCORES_PER_BLOCK // max(1, len(sides)))
    for first in range(0, len(sides), step):
        rows, columns = slice(first, first + step), slice(first, None)
        scores = scoring.compute_score_matrix(sides[rows], sides[columns])
        is_target = singer_index[rows, None] == singer_index[columns]
        kept = np.triu(np.ones(scores.shape, bool), k=1)
        if kept_share.min() < 1.0:
            kept &= generator.random(scores.shape, np.float32) < kept_share[is_target.astype(np.int8)]
        found.append((scores[kept], is_target[kept]))
    scores, is_target = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return PairScores(scores, is_target, num_targets, num_nontargets)


ENROLMENT_SIZES = (2, 3, 5, 10)  # of recordings; from one to the next, errors at a threshold move by a point or two
NUM_ENROLMENT_DRAWS = 10  # of the recordings that singers are known from


@dataclass(frozen=True)
class FittedMultiEnrolment:
    """
    Attributes:
        multi_enrolment: what was fitted.
        eer: equal error rate of the trials that it was fitted to.
        num_trials: of them.
    """

    multi_enrolment: MultiEnrolmentCalibration
    eer: float
    num_trials: int


def fit_multi_enrolment(
    sides: TrialEmbeddings, singer_index: Int[np.ndarray, " utterances"], scoring: Scoring, origin: str, prior: float
) -> tuple[FittedMultiEnrolment, ...]:
    """For each of `ENROLMENT_SIZES` that there are recordings enough for: at least two singers have more, and each draw leaves
    `MIN_TRIALS_PER_KIND` queries of theirs.

    Args:
        sides: of utterances.
        singer_index: who sings each, numbered from 0 without a gap.
        scoring: of these sides.
        origin: who they are, in words.
        prior: of the calibrations.

    Raises:
        SingerVerifyError: scores that cannot be calibrated.
    """
    found = []
    for number in ENROLMENT_SIZES:
        scores, is_target = _score_enrolment_trials(sides, singer_index, scoring, number)
        if len(scores) == 0:
            continue
        known = f"{origin}, each known from {number} recordings"
        eer, threshold = compute_eer(scores, is_target)
        calibration = fit_calibration(scores, is_target, known, prior)
        several = MultiEnrolmentCalibration(number, calibration, Threshold(threshold, f"equal error rate on {known}"))
        found.append(FittedMultiEnrolment(several, eer, len(scores)))
    return tuple(found)


def _score_enrolment_trials(
    sides: TrialEmbeddings, singer_index: np.ndarray, scoring: Scoring, number: int
) -> tuple[Float[np.ndarray, " trials"], Bool[np.ndarray, " trials"]]:
    """Scores of queries against all singers known from so many recordings, over several draws of these; none where
    there are too few."""
    scores, is_target = [np.empty(0)], [np.empty(0, bool)]
    for seed in range(NUM_ENROLMENT_DRAWS):
        gallery = draw_gallery(sides, singer_index, scoring, number, seed)
        num_known = len(gallery.singers)
        if num_known < 2 or len(gallery.queries) < MIN_TRIALS_PER_KIND:
            break
        most = max(MAX_SCORES_PER_KIND // (NUM_ENROLMENT_DRAWS * num_known), MIN_TRIALS_PER_KIND)
        chosen = np.random.default_rng(seed).permutation(len(gallery.queries))[:most]
        scores.append(scoring.compute_score_matrix(sides[gallery.queries[chosen]], gallery.singers).ravel())
        is_target.append((gallery.target_index[chosen, None] == np.arange(num_known)).ravel())
    return np.concatenate(scores), np.concatenate(is_target)


PROJECTIONS, NORMS = ("none", "centre", "whiten", "lda"), ("none", "s-norm", "as-norm")
DEFAULT_MAX_NEAREST = 200  # some hundreds are usual, of a cohort of thousands


@dataclass(frozen=True)
class LabelledEmbeddings:
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
    def known(self) -> SeenSingers:
        """Them, as they are known again in another corpus."""
        return SeenSingers.from_names(self.singers.tolist(), self.recordings)


@dataclass(frozen=True)
class FittedScoring:
    """A scoring, and what it gains on the trials it was calibrated on.

    Attributes:
        scoring: with calibration and threshold, those for several recordings among them.
        num_trials: of all pairs of the judged utterances.
        num_targets: of them, of one singer.
        num_used: trials that calibration and threshold were fitted to, and the figures are of.
        metrics: `eer` and `compute_min_cllr` of the scoring; `compute_cllr` of the calibrated ratios; `cllr_uncalibrated`, of the
            scores taken for ratios; `eer_cosine`, `min_cllr_cosine` and `cllr_cosine`, the same of the plain cosine.
        multi_enrolment: what was fitted for singers known from several recordings.
    """

    scoring: Scoring
    num_trials: int
    num_targets: int
    num_used: int
    metrics: dict[str, float]
    multi_enrolment: tuple[FittedMultiEnrolment, ...]


def require_disjoint_singers(judged: set[str], cohort: set[str]) -> None:
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


def fit_projection(cohort: LabelledEmbeddings, project: str, num_dims: int | None = None) -> Projection | None:
    """The projection of a name in `PROJECTIONS`, fitted to a cohort.

    Raises:
        SingerVerifyError: see `projection_fitting`.
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
    """The cohort for a normalisation of a name in `NORMS`.

    Args:
        cohort: its singers.
        projection: of its embeddings.
        norm: how it is used.
        num_nearest: for as-norm; None takes `DEFAULT_MAX_NEAREST`, of a small cohort a quarter.

    Raises:
        SingerVerifyError: a cohort too small.
    """
    if norm == "none":
        return None
    rows = cohort.embeddings if projection is None else projection(cohort.embeddings)
    if norm == "s-norm":
        return Cohort(rows)
    return Cohort(rows, num_nearest or max(2, min(DEFAULT_MAX_NEAREST, len(rows) // 4)))


def fit_scoring(scoring: Scoring, judged: LabelledEmbeddings, origin: str, prior: float = 0.5) -> FittedScoring:
    """Calibrate a scoring on all pairs of utterances, and set its threshold at their equal error rate; the same for
    singers known from several utterances, see `fit_multi_enrolment`.

    Args:
        scoring: projection and cohort, if there are any.
        judged: utterances of singers who are not in the cohort.
        origin: who they are, in words: "4 singers of ravdess/val".
        prior: of the calibration.

    Raises:
        SingerVerifyError: trials of one kind only, or scores that cannot be calibrated.
    """
    sides = scoring.prepare_embeddings(judged.embeddings)
    pairs = score_all_pairs(sides, judged.singer_index, scoring)
    _, threshold = compute_eer(pairs.scores, pairs.is_target)
    calibration = fit_calibration(pairs.scores, pairs.is_target, origin, prior)
    several = fit_multi_enrolment(sides, judged.singer_index, scoring, origin, prior)
    fitted = replace(
        scoring,
        calibration=calibration,
        threshold=Threshold(threshold, f"equal error rate on {origin}"),
        threshold_singers=judged.known,
        calibration_singers=judged.known,
        multi_enrolment=tuple(each.multi_enrolment for each in several),
    )
    of_cosine = pairs
    if scoring.projection is not None or scoring.cohort is not None:
        of_cosine = score_all_pairs(COSINE.prepare_embeddings(judged.embeddings), judged.singer_index, COSINE)
    figures = {
        f"{name}_cosine": value for name, value in _compute_scoring_metrics(of_cosine).items()
    } | _compute_scoring_metrics(pairs)
    figures["cllr_uncalibrated"] = figures["cllr"]
    figures["cllr"] = compute_cllr(calibration.log_likelihood_ratio(pairs.scores), pairs.is_target)
    num_trials = pairs.num_targets + pairs.num_nontargets
    return FittedScoring(fitted, num_trials, pairs.num_targets, len(pairs.scores), figures, several)


def _compute_scoring_metrics(pairs: PairScores) -> dict[str, float]:
    """Of scores that are not calibrated."""
    scores, is_target = pairs.scores, pairs.is_target
    return {
        "eer": compute_eer(scores, is_target)[0],
        "min_cllr": compute_min_cllr(scores, is_target),
        "cllr": compute_cllr(scores, is_target),
    }
