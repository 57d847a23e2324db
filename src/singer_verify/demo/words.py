"""The line on which a score and a threshold are shown."""

from dataclasses import dataclass

from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.scoring import Scoring, Threshold
from singer_verify.inference import IdentificationResult

MAX_NORMALISED_SCORE = 4.0  # standard deviations of a cohort's scores; further out is shown at the end


@dataclass(frozen=True)
class ScoreScale:
    """From the lowest score shown to the highest."""

    low: float
    high: float

    def place(self, score: float) -> float:
        """In percent of the line, from its low end."""
        share = (score - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 1)


def build_score_scale(scoring: Scoring) -> ScoreScale:
    """Cosines lie between -1 and 1; scores normalised by a cohort have no ends."""
    return ScoreScale(-1.0, 1.0) if scoring.cohort is None else ScoreScale(-MAX_NORMALISED_SCORE, MAX_NORMALISED_SCORE)


NO_THRESHOLD_MESSAGE = (
    "This model has no threshold that decides; singer-verify calibrate finds one, --threshold sets one."
)
MAX_LISTED_NAMES = 12
SAME_CLIP_MESSAGE = "Both clips are the same recording, so the score tells nothing of the model."


def describe_decision(is_same: bool | None) -> str:
    """What is said of two clips."""
    if is_same is None:
        return "No decision"
    return "Most likely the same singer" if is_same else "Most likely two different singers"


def describe_candidate(singer: str, is_known: bool | None) -> str:
    """What is said of a clip and the singer it is most like."""
    if is_known is None:
        return f"No decision; closest is {singer}"
    return f"Most likely {singer}" if is_known else f"Unknown: none of the known singers, though closest to {singer}"


def format_singer_names(singers: list[str]) -> str:
    """The names of a gallery, or the first of them."""
    others = len(singers) - MAX_LISTED_NAMES
    return ", ".join(singers[:MAX_LISTED_NAMES]) + (f" and {others} more" if others > 0 else "")


def describe_score(score: float, threshold: Threshold | None) -> str:
    """The score beside the threshold, and where that comes from."""
    if threshold is None:
        return f"Score {score:.3f}. {NO_THRESHOLD_MESSAGE}"
    side = "at or above" if score >= threshold.score else "below"
    return f"Score {score:.3f}, {side} the threshold of {threshold.score:.3f} ({threshold.origin})."


def describe_threshold(found: IdentificationResult) -> str:
    """From which score on a singer is taken for known, and where that comes from."""
    if found.threshold is None:
        return NO_THRESHOLD_MESSAGE
    score, origin = found.threshold.score, found.threshold.origin
    if all(candidate.threshold == score for candidate in found.candidates):
        return f"From {score:.3f} on, the mark on the bars, a score is high enough ({origin})."
    return (
        f"The mark on each bar is where a score is high enough: further on for singers known from more recordings. For "
        f"{found.candidates[0].singer} it is {score:.3f} ({origin})."
    )


def describe_probability(probability: float | None, calibration: Calibration | None) -> str:
    """Empty, where the scores were never calibrated."""
    if probability is None or calibration is None:
        return ""
    return (
        f"Probability of one singer: {format_percent(probability)}, if one singer and two are equally likely beforehand "
        f"(calibrated on {calibration.origin})."
    )


def describe_prior(calibration: Calibration | None) -> str:
    """What the probabilities of candidates take for granted; empty, where the scores were never calibrated."""
    if calibration is None:
        return ""
    return (
        f"Each probability is of that singer against anybody else, if both are equally likely beforehand (calibrated "
        f"on {calibration.origin})."
    )


def format_percent(probability: float) -> str:
    """Never 0 or 100: no calibration is that sure."""
    if probability < 0.001:
        return "under 0.1 %"
    return "over 99.9 %" if probability > 0.999 else f"{100 * probability:.1f} %"


def replace_paths(text: str, names: dict[str, str]) -> str:
    """A sentence that calls clips by what they are called on the page, in place of where they lie.

    Args:
        text: the sentence.
        names: of clips, by their paths.
    """
    for path, name in names.items():
        text = text.replace(path, name)
    return text[:1].upper() + text[1:]
