"""An evaluation in words: names and meanings of metrics, notes on what limits them, console tables."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from singer_verify.evaluation.conditions import MIN_TRIALS_PER_KIND
from singer_verify.evaluation.metrics.bootstrap import MIN_RELIABLE_SINGERS, Estimate
from singer_verify.evaluation.metrics.registry import METRICS, MIN_DCF_PREFIX
from singer_verify.evaluation.results import ConditionMetrics, EvaluatedUtterances, EvaluationResult
from singer_verify.evaluation.seen_singers import (
    CALIBRATION,
    COHORT,
    MODEL_SELECTION,
    THRESHOLD,
    TRAINING,
    SingerOverlap,
)
from singer_verify.inference.evaluation_context import EvaluationContext

THRESHOLD_METRICS, CALIBRATION_METRICS = ("miss_at_threshold", "false_alarm_at_threshold"), ("cllr",)
ACTUAL_DCF_PREFIX = "actual_dcf_"  # at the calibration's threshold for the prior if there is one, else at the given one
FITTED_MARK = " (fitted to singers evaluated here)"
NO_VALUE = "–"
PERCENT_METRICS = ("miss_at_threshold", "false_alarm_at_threshold", "top_1", "top_5")  # besides those in METRICS
METRIC_NAMES = {
    "threshold": "threshold",
    "miss_at_threshold": "misses at the given threshold",
    "false_alarm_at_threshold": "false alarms at the given threshold",
    "cllr": "Cllr",
    "top_1": "top-1 identification",
    "top_5": "top-5 identification",
    "mean_normalised_rank": "mean normalised rank",
}
METRIC_MEANINGS = {
    "eer": "At the threshold where both error rates are equal: the share of target trials that are rejected, and of "
    "non-target trials that are accepted.",
    "threshold": "The score at the EER; trials that score at least as high are accepted as the same singer.",
    "miss_at_threshold": "Share of target trials rejected at the threshold of the model's scoring.",
    "false_alarm_at_threshold": "Share of non-target trials accepted at that threshold.",
    "auc": "How often a target trial scores higher than a non-target trial; chance is 50 %.",
    "cllr": "Cost of the calibrated log-likelihood ratios in bits per trial: 0 is perfect, 1 is uninformative.",
    "min_cllr": "Cllr after the best possible calibration of these scores; the difference is calibration loss.",
    "top_1": "How often the right singer ranks first among all enrolled singers.",
    "top_5": "How often the right singer ranks among the first five.",
    "mean_normalised_rank": "Rank of the right singer among all others: 0 is always first, 0.5 is chance.",
}
DISPLAYED_MIN_DCF = "min_dcf_0.05"
WIDE_COLUMNS = 112  # of a console on which conditions fit in one line


class OverlapWording(NamedTuple):
    """An earlier use of singers: what was done with them, and what that means for the metrics."""

    action: str
    consequence: str


OVERLAP_WORDINGS = {
    TRAINING: OverlapWording(
        "the model was trained on",
        "metrics on them are too good, and what is fitted to them is overconfident",
    ),
    MODEL_SELECTION: OverlapWording(
        "the best step of the model was chosen on", "on other singers its EER will be higher"
    ),
    THRESHOLD: OverlapWording(
        "the threshold was fitted to", "it was not chosen beforehand, and on other singers it will make more errors"
    ),
    CALIBRATION: OverlapWording(
        "the calibration was fitted to", "on other singers Cllr and actual detection costs will be higher"
    ),
    COHORT: OverlapWording("projection and cohort were computed from", "no metric here carries over to other singers"),
}


def describe_overlaps(overlaps: Mapping[str, SingerOverlap | None]) -> list[str]:
    """Describe, in a sentence each, how the evaluated singers were used before, or that this is not recorded.

    Args:
        overlaps: see `EvaluationContext`.
    """
    return [
        sentence
        for occasion, overlap in overlaps.items()
        if (sentence := _describe_overlap(OVERLAP_WORDINGS[occasion], overlap))
    ]


def find_fitted_metrics(metrics: Iterable[str], overlaps: Mapping[str, SingerOverlap | None]) -> list[str]:
    """Return the names of metrics whose threshold or calibration was fitted to recordings of singers evaluated here."""
    names = list(metrics)
    fitted: list[str] = []
    if _has_recognised_singers(overlaps.get(THRESHOLD)):
        fitted += THRESHOLD_METRICS
    if _has_recognised_singers(overlaps.get(CALIBRATION)):
        fitted += CALIBRATION_METRICS
    is_calibrated = any(name in names for name in CALIBRATION_METRICS)
    if _has_recognised_singers(overlaps.get(CALIBRATION if is_calibrated else THRESHOLD)):
        fitted += [name for name in names if name.startswith(ACTUAL_DCF_PREFIX)]
    return [name for name in names if name in fitted]


def _has_recognised_singers(overlap: SingerOverlap | None) -> bool:
    return overlap is not None and overlap.num_recognised > 0


def _describe_overlap(occasion: OverlapWording, overlap: SingerOverlap | None) -> str:
    """Describe one earlier use; return nothing if no singer is fitted."""
    if overlap is None:
        return f"Which singers {occasion.action} is not recorded: they may be among those evaluated here."
    begins = f"{occasion.action[0].upper()}{occasion.action[1:]}"
    if overlap.num_recognised:
        is_all = overlap.num_recognised == overlap.num_singers
        whom = "exactly these singers" if is_all else f"{overlap.num_recognised} of these {overlap.num_singers} singers"
        return f"{begins} {whom}, as the recordings show; {occasion.consequence}."
    if overlap.num_namesakes:
        return (
            f"{overlap.num_namesakes} of {overlap.num_singers} singers have the names of singers {occasion.action}. "
            f"This may be coincidence, as in corpora whose singers are called 01 and 02; if not, "
            f"{occasion.consequence}."
        )
    return ""


@dataclass(frozen=True)
class MetricRow:
    """A row of the table of metrics, formatted."""

    name: str
    value: str
    interval: str
    meaning: str


def build_metric_rows(result: EvaluationResult, context: EvaluationContext) -> list[MetricRow]:
    """Build a row per metric, the most important ones first."""
    fitted = find_fitted_metrics(result.metrics, context.overlaps)
    return [
        MetricRow(
            format_metric_name(key, fitted),
            format_metric_value(key, estimate),
            format_metric_interval(key, estimate),
            describe_metric(key),
        )
        for key, estimate in sorted(result.metrics.items(), key=lambda item: _get_metric_order(item[0]))
    ]


def format_metric_name(key: str, fitted: Collection[str] = ()) -> str:
    """Return a metric's name in tables, marked if it is among those fitted to the evaluated singers."""
    mark = FITTED_MARK if key in fitted else ""
    if key in METRICS:
        return METRICS[key].label + mark
    if key.startswith(ACTUAL_DCF_PREFIX):
        return f"actual DCF at prior {key.removeprefix(ACTUAL_DCF_PREFIX)}{mark}"
    return METRIC_NAMES.get(key, key) + mark


def describe_metric(key: str) -> str:
    """Explain a metric in a sentence."""
    if key.startswith(MIN_DCF_PREFIX):
        return (
            f"Detection cost at the best threshold, for a target prior of {key.removeprefix(MIN_DCF_PREFIX)}: 0 is "
            f"perfect, 1 is deciding without the recordings."
        )
    if key.startswith(ACTUAL_DCF_PREFIX):
        return (
            f"Detection cost at the threshold of the model's scoring, for a target prior of "
            f"{key.removeprefix(ACTUAL_DCF_PREFIX)}; its excess over the minimum at that prior is avoidable."
        )
    return METRIC_MEANINGS.get(key, "")


def format_metric_value(key: str, estimate: Estimate) -> str:
    return f"{100 * estimate.value:.2f} %" if _is_percentage(key) else f"{estimate.value:.3f}"


def _is_percentage(key: str) -> bool:
    return METRICS[key].is_percentage if key in METRICS else key in PERCENT_METRICS


def format_metric_interval(key: str, estimate: Estimate) -> str:
    """Format the 95 % interval of a metric; return nothing if there is none."""
    if math.isnan(estimate.low):
        return ""
    if _is_percentage(key):
        return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f} %"
    return f"{estimate.low:.3f} to {estimate.high:.3f}"


def explain_missing_eer(condition: ConditionMetrics) -> str:
    """Explain why a condition has no EER."""
    if not condition.num_targets:
        return "no target trials"
    return "too few trials" if condition.num_nontargets else "no non-target trials"


def format_condition_eer(condition: ConditionMetrics) -> str:
    """Format the EER of a condition with its interval, or the reason that there is none."""
    if condition.eer is None:
        return explain_missing_eer(condition)
    interval = format_metric_interval("eer", condition.eer)
    return format_metric_value("eer", condition.eer) + (f" [{interval}]" if interval else "")


def format_condition_cost(cost: Estimate | None) -> str:
    """Format a detection cost with its interval; a dash stands for too few trials."""
    if cost is None:
        return NO_VALUE
    interval = format_metric_interval(MIN_DCF_PREFIX, cost)
    return format_metric_value(MIN_DCF_PREFIX, cost) + (f" [{interval}]" if interval else "")


def build_evaluation_notes(
    result: EvaluationResult, utterances: EvaluatedUtterances, context: EvaluationContext
) -> list[str]:
    """Build the notes that a reader must know to interpret the metrics."""
    everything = result.conditions[0]
    num_singers = len(utterances.singers)
    notes = [
        f"{num_singers} singers, {len(utterances.paths)} utterances; trials: {context.trials}, "
        f"{everything.num_targets} target and {everything.num_nontargets} non-target. Scoring: {context.scoring}.",
        f"Intervals: 95 %, from {result.num_resamples} resamples of the singers (percentile bootstrap), because the "
        f"trials of a singer are not independent.",
    ]
    if (fewest := min(everything.num_targets, everything.num_nontargets)) < MIN_TRIALS_PER_KIND:
        notes.append(
            f"Only {fewest} trials of one kind, fewer than {MIN_TRIALS_PER_KIND}: too few for a meaningful rate."
        )
    if num_singers < MIN_RELIABLE_SINGERS:
        notes.append(
            f"With fewer than {MIN_RELIABLE_SINGERS} singers, expect the EER to vary by several percentage points; "
            f"intervals resampled from so few are too narrow, if anything."
        )
    return [*notes, *describe_overlaps(context.overlaps), *context.provenance.splitlines()]


def _get_metric_order(key: str) -> tuple[int, str]:
    order = (
        "eer",
        "threshold",
        "miss_at_",
        "false_alarm_at_",
        MIN_DCF_PREFIX,
        ACTUAL_DCF_PREFIX,
        "auc",
        "cllr",
        "min_cllr",
        "top_",
    )
    return next((number for number, start in enumerate(order) if key.startswith(start)), len(order)), key


def build_evaluation_table(
    result: EvaluationResult, utterances: EvaluatedUtterances, context: EvaluationContext
) -> Group:
    """Build a console table with a row per metric, and the notes below."""
    table = Table(title=Text(context.title), show_edge=False)
    for name in ("metric", "value", "95 % over singers"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for row in build_metric_rows(result, context):
        table.add_row(row.name, row.value, row.interval or NO_VALUE)
    return Group(table, *(Text(f"* {note}") for note in build_evaluation_notes(result, utterances, context)))


def build_conditions_table(conditions: Sequence[ConditionMetrics], width: int = WIDE_COLUMNS) -> Table:
    """Build a console table with a row per condition; the costs at other priors are in the report.

    Args:
        conditions: conditions with their metrics.
        width: columns of the console; where they are few, detection costs are shown without their intervals.
    """
    table = Table(title="by condition, with 95 % intervals over singers", show_edge=False)
    for name in ("condition", "EER", METRICS[DISPLAYED_MIN_DCF].label, "target trials", "non-target"):
        table.add_column(name, justify="left" if name == "condition" else "right")
    for condition in conditions:
        cost = format_condition_cost(condition.metrics.get(DISPLAYED_MIN_DCF))
        cost = cost if width >= WIDE_COLUMNS else cost.partition(" [")[0]
        table.add_row(
            Text(condition.condition),
            format_condition_eer(condition),
            cost,
            str(condition.num_targets),
            str(condition.num_nontargets),
        )
    return table
