"""Explanations of the page: its model, scores, thresholds and probabilities, in words that need no statistics."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from singer_verify.demo.clips import MAX_CLIP_AGE_S
from singer_verify.evaluation.metrics.bootstrap import MIN_RELIABLE_SINGERS
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.scoring import Scoring, Threshold
from singer_verify.features.recipe import build_feature
from singer_verify.inference import IdentificationResult, Model
from singer_verify.runs.folder import BEST_CHECKPOINT, SAVED_MODEL, find_run_folder
from singer_verify.runs.packaged_model import find_packaged_model
from singer_verify.runs.tree import read_run_metrics

MAX_NORMALISED_SCORE = 4.0  # standard deviations of a cohort's scores; scores beyond are drawn at the end
NO_THRESHOLD_MESSAGE = "This model has no decision threshold; singer-verify calibrate fits one, --threshold sets one."
MAX_LISTED_NAMES = 12
SAME_CLIP_MESSAGE = "Both clips are the same recording, so the score says nothing about the model."
PANEL_ENVIRONMENT = Environment(
    loader=PackageLoader("singer_verify.demo"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
LIMITS = (
    "It is no proof of identity. Do not use it to grant access, to accuse anybody, or on people who have not agreed.",
    "It is wrong more often with accompaniment, choirs, effects and clips of a second or two, and with voices, "
    "languages, rooms and microphones unlike those it was trained on.",
    "A score close to the threshold says little; compare more clips of the same voices.",
)
PRIVACY = (
    f"They are sent to the program that serves this page, and nowhere else. It keeps a clip for at most "
    f"{MAX_CLIP_AGE_S // 60} minutes, does not train on it, and deletes everything when it ends."
)


@dataclass(frozen=True)
class ScoreScale:
    """The range of scores that is drawn."""

    low: float
    high: float

    def place(self, score: float) -> float:
        """Return the position of a score in percent of the scale, from its low end."""
        share = (score - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 1)


def build_score_scale(scoring: Scoring) -> ScoreScale:
    """Build the scale of a scoring: cosines lie between -1 and 1, scores normalised by a cohort are unbounded."""
    return ScoreScale(-1.0, 1.0) if scoring.cohort is None else ScoreScale(-MAX_NORMALISED_SCORE, MAX_NORMALISED_SCORE)


def describe_decision(is_same: bool | None) -> str:
    """Describe the decision about two clips."""
    if is_same is None:
        return "No decision"
    return "Most likely the same singer" if is_same else "Most likely two different singers"


def describe_candidate(singer: str, is_known: bool | None) -> str:
    """Describe the decision about a clip and the closest singer."""
    if is_known is None:
        return f"No decision; closest is {singer}"
    return f"Most likely {singer}" if is_known else f"Unknown singer; closest is {singer}"


def format_singer_names(singers: list[str]) -> str:
    """List the first names of a gallery and count the others."""
    others = len(singers) - MAX_LISTED_NAMES
    return ", ".join(singers[:MAX_LISTED_NAMES]) + (f" and {others} more" if others > 0 else "")


def describe_score(score: float, threshold: Threshold | None) -> str:
    """Describe a score relative to the threshold, and where that comes from."""
    if threshold is None:
        return f"Score {score:.3f}. {NO_THRESHOLD_MESSAGE}"
    side = "at or above" if score >= threshold.score else "below"
    return f"Score {score:.3f}, {side} the threshold of {threshold.score:.3f} ({threshold.origin})."


def describe_threshold(result: IdentificationResult) -> str:
    """Describe the score from which a singer is accepted, and where it comes from."""
    if result.threshold is None:
        return NO_THRESHOLD_MESSAGE
    score, origin = result.threshold.score, result.threshold.origin
    if all(candidate.threshold == score for candidate in result.candidates):
        return f"The mark on the bars is the threshold, {score:.3f} ({origin})."
    return (
        f"The mark on each bar is the threshold, which is higher for singers enrolled with more recordings. For "
        f"{result.candidates[0].singer} it is {score:.3f} ({origin})."
    )


def describe_probability(probability: float | None, calibration: Calibration | None) -> str:
    """Describe a probability; return nothing if the scores are not calibrated."""
    if probability is None or calibration is None:
        return ""
    return (
        f"Probability of the same singer: {format_percent(probability)}, if both answers are equally likely a priori "
        f"(calibrated on {calibration.origin})."
    )


def describe_prior(calibration: Calibration | None) -> str:
    """Describe the prior of the candidates' probabilities; return nothing if the scores are not calibrated."""
    if calibration is None:
        return ""
    return (
        f"Each probability is that of the singer against anybody else, if both are equally likely a priori (calibrated "
        f"on {calibration.origin})."
    )


def format_percent(probability: float) -> str:
    """Format a probability as a percentage, never 0 or 100: no calibration is that certain."""
    if probability < 0.001:
        return "under 0.1 %"
    return "over 99.9 %" if probability > 0.999 else f"{100 * probability:.1f} %"


def replace_paths(text: str, names: dict[str, str]) -> str:
    """Replace the paths of clips in a sentence by what the clips are called on the page.

    Args:
        text: the sentence.
        names: names of clips by path.
    """
    for path, name in names.items():
        text = text.replace(path, name)
    return text[:1].upper() + text[1:]


def render_panel(name: str, **content: Any) -> str:
    """Render one of the templates.

    Args:
        name: name of the template, without its suffix.
        content: variables of the template.
    """
    return PANEL_ENVIRONMENT.get_template(f"{name}.html.jinja").render(content)


def render_about(model: Model) -> str:
    """Render what the model is, what it cannot do, and what happens to clips, as HTML."""
    return render_panel("about", model=describe_model(model), limits=LIMITS, privacy=PRIVACY)


def describe_model(model: Model) -> str:
    """Describe the input of a model, its training, and its error rate or where to find it."""
    assert model.checkpoint is not None
    metadata = model.checkpoint.metadata
    num_singers = len(metadata.train_singers)
    trained = f"It was trained on {num_singers} singers." if num_singers else "Its training singers are not recorded."
    packaged = find_packaged_model()
    if packaged is not None and packaged.path == model.checkpoint.path:
        error_rate = f"Its error rates on real singing are in its model card, {packaged.card.name} of the package."
    else:
        error_rate = describe_error_rate(_read_run_metrics(model.checkpoint.path))
    return f"{describe_recipe(metadata.recipe)} {trained} {error_rate}"


def describe_recipe(recipe: dict[str, Any]) -> str:
    """Describe a recipe, for instance "It takes MelSpectrogram frames: 80 bins every 10 ms, up to 7600 Hz"."""
    feature = build_feature(recipe)
    normalised = str(recipe.get("normalise", "none"))
    return (
        f"It takes {str(recipe['_target_']).rpartition('.')[2]} frames: {feature.num_bins} bins every "
        f"{feature.hop_ms:g} ms, up to {feature.bandwidth_hz:g} Hz"
        f"{'' if normalised == 'none' else f', normalised ({normalised})'}."
    )


def describe_error_rate(metrics: dict[str, Any] | None) -> str:
    """Describe the best validation EER of a training."""
    best = (metrics or {}).get("best") or {}
    if "val/eer" not in best:
        return "Its error rate is not recorded."
    assert metrics is not None
    num_singers, percent = metrics["num_val_singers"], 100 * best["val/eer"]
    few = (
        " With so few singers, expect this to vary by several percentage points."
        if num_singers < MIN_RELIABLE_SINGERS
        else ""
    )
    return (
        f"Tested on {num_singers} singers who were not in its training, it took {percent:.1f} % of the pairs of "
        f"different singers for the same singer, and as many pairs of the same singer for different ones "
        f"(equal error rate).{few}"
    )


def _read_run_metrics(checkpoint: Path) -> dict[str, Any] | None:
    """Read the metrics of the run whose best model this is; return None where there are none or they are damaged."""
    if checkpoint.name not in (BEST_CHECKPOINT.name, SAVED_MODEL.name):
        return None
    if (run := find_run_folder(checkpoint)) is None:
        return None
    try:
        metrics = read_run_metrics(run)
    except (OSError, json.JSONDecodeError):
        return None
    return metrics if isinstance(metrics, dict) else None
