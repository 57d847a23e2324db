"""What was fitted to the scores of a model: as plain values, as a table."""

from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from singer_verify.evaluation.scoring_fitting import FittedScoring, SungBy
from singer_verify.evaluation.several_fitting import FittedSeveral

FEW_SINGERS = 30


def fitted_values(judged: SungBy, others: SungBy | None, fitted: FittedScoring) -> dict[str, Any]:
    """Plain values of what was fitted.

    Args:
        judged: to whose trials.
        others: of whom projection and cohort are made; None without either.
        fitted: the scoring.
    """
    scoring = fitted.scoring
    assert scoring.calibration is not None
    assert scoring.threshold is not None
    return {
        "num_singers": judged.num_singers,
        "num_utterances": len(judged.singers),
        "num_trials": fitted.num_trials,
        "num_target_trials": fitted.num_targets,
        "num_trials_used": fitted.num_used,
        "num_dims": None if scoring.projection is None else scoring.projection.matrix.shape[1],
        "num_nearest": None if scoring.cohort is None else scoring.cohort.num_nearest,
        "num_cohort_singers": 0 if others is None else others.num_singers,
        "num_cohort_utterances": 0 if others is None else len(others.singers),
        "slope": scoring.calibration.slope,
        "offset": scoring.calibration.offset,
        "origin": scoring.calibration.origin,
        "threshold": scoring.threshold.score,
        **fitted.figures,
        "several": [_several_record(each) for each in fitted.several],
    }


def _several_record(fitted: FittedSeveral) -> dict[str, float]:
    """Of singers who are known from several recordings."""
    several = fitted.several
    return {
        "num_recordings": several.num_recordings,
        "num_trials_used": fitted.num_trials,
        "slope": several.calibration.slope,
        "offset": several.calibration.offset,
        "threshold": several.threshold.score,
        "eer": fitted.eer,
    }


def calibration_table(result: dict[str, Any], model: Path) -> Table:
    """What `singer-verify calibrate` prints."""
    table = Table(show_header=False, title=Text(f"{model} on {result['split']}"))  # not markup
    table.add_row("scoring", _scoring(result))
    table.add_row(
        "calibration",
        f"log-likelihood ratio = {result['slope']:.3f} × score {result['offset']:+.3f}, fitted for a "
        f"share of {result['prior']:g} trials of one singer",
    )
    table.add_row("threshold", f"{result['threshold']:.4f}, at the equal error rate")
    table.add_row("EER", f"{100 * result['eer']:.2f} %{_instead(result, 'eer', 100, ' %')}")
    table.add_row(
        "Cllr",
        f"{result['cllr']:.3f} bits; before calibration {result['cllr_uncalibrated']:.3f}, at best "
        f"{result['min_cllr']:.3f}{_instead(result, 'min_cllr', 1, '')}",
    )
    for each in result["several"]:
        table.add_row(
            f"known from {each['num_recordings']}",
            f"threshold {each['threshold']:.4f}, EER {100 * each['eer']:.2f} %, of singers known from the mean of "
            f"{each['num_recordings']} recordings",
        )
    table.add_row("trials", _trials(result))
    table.add_row("fitted to", Text(result["origin"]))
    table.add_row("caution", _caution(result))
    return table


def _scoring(result: dict[str, Any]) -> str:
    """For instance: cosine after lda to 12 dimensions and s-norm (cohort: 572 utterances by 13 singers)."""
    words = ["cosine"]
    if result["project"] != "none":
        fewer = f" to {result['num_dims']} dimensions" if result["project"] == "lda" else ""
        words.append(f"after {result['project']}{fewer}")
    if result["norm"] != "none":
        nearest = f" with the nearest {result['num_nearest']}" if result["num_nearest"] else ""
        words.append(f"and {result['norm']}{nearest}")
    if result["num_cohort_utterances"]:
        words.append(
            f"(cohort: {result['num_cohort_utterances']} utterances by {result['num_cohort_singers']} singers)"
        )
    return " ".join(words)


def _instead(result: dict[str, Any], name: str, factor: float, unit: str) -> str:
    """The same figure of the plain cosine, where the scoring is another."""
    if (result["project"], result["norm"]) == ("none", "none"):
        return ""
    decimals = 2 if unit else 3
    return f" (plain cosine {factor * result[f'{name}_cosine']:.{decimals}f}{unit})"


def _trials(result: dict[str, Any]) -> str:
    used, all_of_them = result["num_trials_used"], result["num_trials"]
    drawn = "" if used == all_of_them else f", {used} of them drawn"
    return f"{all_of_them}, of which {result['num_target_trials']} target{drawn}"


def _caution(result: dict[str, Any]) -> str:
    few = ", who are few: other singers will move threshold and ratios" if result["num_singers"] < FEW_SINGERS else ""
    return f"these figures are of the {result['num_singers']} singers it was fitted to{few}; judge it on other singers"
