"""Scores and decisions in plain words."""

from singer_verify.evaluation.scoring import Scoring, Threshold

NO_THRESHOLD = (
    "This model has no threshold, so the score stands alone; `singer-verify calibrate` finds one, --threshold sets one."
)
SAME_CLIP = "Both clips are the same recording, so the score tells nothing of the model."


def decision_words(is_same: bool | None) -> str:
    """What is said of two clips."""
    if is_same is None:
        return "No decision"
    return "Most likely the same singer" if is_same else "Most likely two different singers"


def score_words(score: float, threshold: Threshold | None) -> str:
    """The score beside the threshold, and where that comes from."""
    if threshold is None:
        return f"Score {score:.3f}. {NO_THRESHOLD}"
    side = "at or above" if score >= threshold.score else "below"
    return f"Score {score:.3f}, {side} the threshold of {threshold.score:.3f} ({threshold.origin})."


def probability_words(probability: float | None, scoring: Scoring) -> str:
    """Empty, where the scores were never calibrated."""
    if probability is None or scoring.calibration is None:
        return ""
    return (
        f"Probability of one singer: {percent(probability)}, if one singer and two are equally likely beforehand "
        f"(calibrated on {scoring.calibration.origin})."
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
