"""Scores and decisions in plain words."""

from singer_verify.evaluation.calibration import Calibration
from singer_verify.evaluation.scoring import Threshold
from singer_verify.recognition import Identification

NO_THRESHOLD = "This model has no threshold that decides; singer-verify calibrate finds one, --threshold sets one."
MOST_NAMES = 12
SAME_CLIP = "Both clips are the same recording, so the score tells nothing of the model."


def decision_words(is_same: bool | None) -> str:
    """What is said of two clips."""
    if is_same is None:
        return "No decision"
    return "Most likely the same singer" if is_same else "Most likely two different singers"


def candidate_words(singer: str, is_known: bool | None) -> str:
    """What is said of a clip and the singer it is most like."""
    if is_known is None:
        return f"No decision; closest is {singer}"
    return f"Most likely {singer}" if is_known else f"Unknown: none of the known singers, though closest to {singer}"


def singers_words(singers: list[str]) -> str:
    """The names of a gallery, or the first of them."""
    others = len(singers) - MOST_NAMES
    return ", ".join(singers[:MOST_NAMES]) + (f" and {others} more" if others > 0 else "")


def score_words(score: float, threshold: Threshold | None) -> str:
    """The score beside the threshold, and where that comes from."""
    if threshold is None:
        return f"Score {score:.3f}. {NO_THRESHOLD}"
    side = "at or above" if score >= threshold.score else "below"
    return f"Score {score:.3f}, {side} the threshold of {threshold.score:.3f} ({threshold.origin})."


def threshold_words(found: Identification) -> str:
    """From which score on a singer is taken for known, and where that comes from."""
    if found.threshold is None:
        return NO_THRESHOLD
    score, origin = found.threshold.score, found.threshold.origin
    if all(candidate.threshold == score for candidate in found.candidates):
        return f"From {score:.3f} on, the mark on the bars, a score is high enough ({origin})."
    return (
        f"The mark on each bar is where a score is high enough: further on for singers known from more recordings. For "
        f"{found.candidates[0].singer} it is {score:.3f} ({origin})."
    )


def probability_words(probability: float | None, calibration: Calibration | None) -> str:
    """Empty, where the scores were never calibrated."""
    if probability is None or calibration is None:
        return ""
    return (
        f"Probability of one singer: {percent(probability)}, if one singer and two are equally likely beforehand "
        f"(calibrated on {calibration.origin})."
    )


def prior_words(calibration: Calibration | None) -> str:
    """What the probabilities of candidates take for granted; empty, where the scores were never calibrated."""
    if calibration is None:
        return ""
    return (
        f"Each probability is of that singer against anybody else, if both are equally likely beforehand (calibrated "
        f"on {calibration.origin})."
    )


def percent(probability: float) -> str:
    """Never 0 or 100: no calibration is that sure."""
    if probability < 0.001:
        return "under 0.1 %"
    return "over 99.9 %" if probability > 0.999 else f"{100 * probability:.1f} %"


def without_paths(text: str, names: dict[str, str]) -> str:
    """A sentence that calls clips by what they are called on the page, in place of where they lie.

    Args:
        text: the sentence.
        names: of clips, by their paths.
    """
    for path, name in names.items():
        text = text.replace(path, name)
    return text[:1].upper() + text[1:]
