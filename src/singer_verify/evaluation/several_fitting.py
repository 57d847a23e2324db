"""Calibration and threshold for singers who are known from several recordings."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from singer_verify.evaluation.calibration_fitting import fit_calibration
from singer_verify.evaluation.conditions import FEWEST_TRIALS
from singer_verify.evaluation.enrolment import drawn_gallery
from singer_verify.evaluation.metrics import equal_error_rate
from singer_verify.evaluation.pair_scores import MOST_OF_A_KIND
from singer_verify.evaluation.scoring import Scoring, SeveralRecordings, Sides, Threshold

NUMBERS = (2, 3, 5, 10)  # of recordings; from one to the next, errors at a threshold move by a point or two
NUM_DRAWS = 10  # of the recordings that singers are known from


@dataclass(frozen=True)
class FittedSeveral:
    """
    Attributes:
        several: what was fitted.
        eer: equal error rate of the trials that it was fitted to.
        num_trials: of them.
    """

    several: SeveralRecordings
    eer: float
    num_trials: int


def fit_several(
    sides: Sides, singer_index: Int[np.ndarray, " utterances"], scoring: Scoring, origin: str, prior: float
) -> tuple[FittedSeveral, ...]:
    """For each of `NUMBERS` that there are recordings enough for: at least two singers have more, and each draw leaves
    `FEWEST_TRIALS` queries of theirs.

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
    for number in NUMBERS:
        scores, is_target = _trials(sides, singer_index, scoring, number)
        if len(scores) == 0:
            continue
        known = f"{origin}, each known from {number} recordings"
        eer, threshold = equal_error_rate(scores, is_target)
        calibration = fit_calibration(scores, is_target, known, prior)
        several = SeveralRecordings(number, calibration, Threshold(threshold, f"equal error rate on {known}"))
        found.append(FittedSeveral(several, eer, len(scores)))
    return tuple(found)


def _trials(
    sides: Sides, singer_index: np.ndarray, scoring: Scoring, number: int
) -> tuple[Float[np.ndarray, " trials"], Bool[np.ndarray, " trials"]]:
    """Scores of queries against all singers known from so many recordings, over several draws of these; none where
    there are too few."""
    scores, is_target = [np.empty(0)], [np.empty(0, bool)]
    for seed in range(NUM_DRAWS):
        gallery = drawn_gallery(sides, singer_index, scoring, number, seed)
        num_known = len(gallery.singers)
        if num_known < 2 or len(gallery.queries) < FEWEST_TRIALS:
            break
        most = max(MOST_OF_A_KIND // (NUM_DRAWS * num_known), FEWEST_TRIALS)
        chosen = np.random.default_rng(seed).permutation(len(gallery.queries))[:most]
        scores.append(scoring.scores(sides[gallery.queries[chosen]], gallery.singers).ravel())
        is_target.append((gallery.own[chosen, None] == np.arange(num_known)).ravel())
    return np.concatenate(scores), np.concatenate(is_target)
