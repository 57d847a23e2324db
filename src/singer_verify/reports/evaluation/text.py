"""What follows from singers who were met before, in words, and which figures are concerned."""

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
from singer_verify.reports.evaluation.about import EvaluationContext

THRESHOLD_METRICS, CALIBRATION_METRICS = ("miss_at_threshold", "false_alarm_at_threshold"), ("cllr",)
ACTUAL_DCF_PREFIX = (
    "actual_dcf_"  # at the calibration's threshold for a prior where there is one, else at the known one
)
FITTED_MARK = " (fitted to singers judged here)"


class OverlapWording(NamedTuple):
    """Where singers were met: what was done with them, and what follows for the figures."""

    action: str
    consequence: str


OVERLAP_WORDINGS = {
    TRAINING: OverlapWording(
        "the model was trained on",
        "figures on them are too good, and what is fitted to them is too confident",
    ),
    MODEL_SELECTION: OverlapWording(
        "the best step of the model was chosen on", "on other singers its EER will be higher"
    ),
    THRESHOLD: OverlapWording(
        "the threshold was fitted to", "it was not known before, and on other singers it will make more errors"
    ),
    CALIBRATION: OverlapWording(
        "the calibration was fitted to", "on other singers Cllr and actual detection costs will be higher"
    ),
    COHORT: OverlapWording("projection and cohort were made of", "no figure says anything of other singers"),
}


def describe_overlaps(met: Mapping[str, SingerOverlap | None]) -> list[str]:
    """A sentence for each occasion on which singers were met before, or of which that is not recorded.

    Args:
        met: see `about.EvaluationContext`.
    """
    return [
        sentence
        for occasion, found in met.items()
        if (sentence := _describe_overlap(OVERLAP_WORDINGS[occasion], found))
    ]


def find_fitted_metrics(figures: Iterable[str], met: Mapping[str, SingerOverlap | None]) -> list[str]:
    """Names of those figures that a threshold or a calibration was fitted for on recordings of singers judged here."""
    found = list(figures)
    concerned: list[str] = []
    if _has_recognised_singers(met.get(THRESHOLD)):
        concerned += THRESHOLD_METRICS
    if _has_recognised_singers(met.get(CALIBRATION)):
        concerned += CALIBRATION_METRICS
    is_calibrated = any(name in found for name in CALIBRATION_METRICS)
    if _has_recognised_singers(met.get(CALIBRATION if is_calibrated else THRESHOLD)):
        concerned += [name for name in found if name.startswith(ACTUAL_DCF_PREFIX)]
    return [name for name in found if name in concerned]


def _has_recognised_singers(found: SingerOverlap | None) -> bool:
    return found is not None and found.num_recognised > 0


def _describe_overlap(occasion: OverlapWording, found: SingerOverlap | None) -> str:
    """Empty where nobody was met."""
    if found is None:
        return f"Which singers {occasion.action} is not recorded: they may be among those who are judged here."
    begins = f"{occasion.action[0].upper()}{occasion.action[1:]}"
    if found.num_recognised:
        is_all = found.num_recognised == found.num_singers
        whom = "these very singers" if is_all else f"{found.num_recognised} of these {found.num_singers} singers"
        return f"{begins} {whom}, as their recordings tell; {occasion.consequence}."
    if found.num_namesakes:
        return (
            f"{found.num_namesakes} of {found.num_singers} singers have names of singers {occasion.action}. That may be "
            f"chance, as in corpora whose singers are called 01 and 02; if they are the same, then {occasion.consequence}."
        )
    return ""


NO_VALUE = "–"
PERCENT_METRICS = ("miss_at_threshold", "false_alarm_at_threshold", "top_1", "top_5")  # beside those of the registry
METRIC_NAMES = {
    "threshold": "threshold",
    "miss_at_threshold": "misses at the known threshold",
    "false_alarm_at_threshold": "false alarms at the known threshold",
    "cllr": "Cllr",
    "top_1": "top-1 identification",
    "top_5": "top-5 identification",
    "mean_normalised_rank": "mean normalised rank",
}
METRIC_MEANINGS = {
    "eer": "At the threshold where both errors are equally frequent, this share of the trials of one singer is missed, "
    "and this share of the trials of two singers is taken for one.",
    "threshold": "The score at which that is so; recordings that score at least as high are taken for one singer's.",
    "miss_at_threshold": "Share of the trials of one singer that are missed at the threshold of the model's scoring.",
    "false_alarm_at_threshold": "Share of the trials of two singers that are taken for one at that threshold.",
    "auc": "How often a trial of one singer scores higher than a trial of two singers; chance is 50 %.",
    "cllr": "Cost of the calibrated log-likelihood ratios in bits a trial: 0 is perfect, 1 is knowing nothing.",
    "min_cllr": "The same, had the scores been calibrated as well as they can be; what Cllr has more is avoidable.",
    "top_1": "How often the right singer, of all that are enrolled, comes first.",
    "top_5": "How often the right singer is among the first five.",
    "mean_normalised_rank": "Where the right singer stands among all others: 0 is always first, 0.5 is chance.",
}


@dataclass(frozen=True)
class MetricRow:
    """A line of the table of figures: the number and its interval are texts."""

    name: str
    value: str
    interval: str
    meaning: str


def build_metric_rows(judgement: EvaluationResult, about: EvaluationContext) -> list[MetricRow]:
    """All figures, those that are read first at the top."""
    fitted = find_fitted_metrics(judgement.metrics, about.overlaps)
    return [
        MetricRow(
            format_metric_name(key, fitted),
            format_metric_value(key, estimate),
            format_metric_interval(key, estimate),
            describe_metric(key),
        )
        for key, estimate in sorted(judgement.metrics.items(), key=lambda item: _get_metric_order(item[0]))
    ]


def format_metric_name(key: str, fitted: Collection[str] = ()) -> str:
    """What a reader calls a figure; marked, if it is among those that were fitted to the singers judged."""
    mark = FITTED_MARK if key in fitted else ""
    if key in METRICS:
        return METRICS[key].label + mark
    if key.startswith(ACTUAL_DCF_PREFIX):
        return f"actual DCF at prior {key.removeprefix(ACTUAL_DCF_PREFIX)}{mark}"
    return METRIC_NAMES.get(key, key) + mark


def describe_metric(key: str) -> str:
    """A plain sentence on what a figure says."""
    if key.startswith(MIN_DCF_PREFIX):
        return (
            f"Cost of errors at the best threshold, where a share of {key.removeprefix(MIN_DCF_PREFIX)} of all trials is of "
            f"one singer: 0 is perfect, 1 is deciding without listening."
        )
    if key.startswith(ACTUAL_DCF_PREFIX):
        return "The same cost at the threshold of the model's scoring; what it has more than minDCF is avoidable."
    return METRIC_MEANINGS.get(key, "")


def format_metric_value(key: str, estimate: Estimate) -> str:
    return f"{100 * estimate.value:.2f} %" if _is_percentage(key) else f"{estimate.value:.3f}"


def _is_percentage(key: str) -> bool:
    return METRICS[key].is_percentage if key in METRICS else key in PERCENT_METRICS


def format_metric_interval(key: str, estimate: Estimate) -> str:
    """Empty where there is no interval."""
    if math.isnan(estimate.low):
        return ""
    if _is_percentage(key):
        return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f} %"
    return f"{estimate.low:.3f} to {estimate.high:.3f}"


def explain_missing_eer(condition: ConditionMetrics) -> str:
    """Why a condition has no rate."""
    if not condition.num_targets:
        return "no target trials"
    return "too few trials" if condition.num_nontargets else "no non-target trials"


def format_condition_eer(condition: ConditionMetrics) -> str:
    """EER in percent with its interval, or why there is none."""
    if condition.eer is None:
        return explain_missing_eer(condition)
    interval = format_metric_interval("eer", condition.eer)
    return format_metric_value("eer", condition.eer) + (f" [{interval}]" if interval else "")


def format_condition_cost(cost: Estimate | None) -> str:
    """A detection cost with its interval; a dash where there are too few trials."""
    if cost is None:
        return NO_VALUE
    interval = format_metric_interval(MIN_DCF_PREFIX, cost)
    return format_metric_value(MIN_DCF_PREFIX, cost) + (f" [{interval}]" if interval else "")


def build_evaluation_notes(
    judgement: EvaluationResult, utterances: EvaluatedUtterances, about: EvaluationContext
) -> list[str]:
    """What a reader must know about the figures."""
    everything = judgement.conditions[0]
    num_singers = len(utterances.singers)
    found = [
        f"{num_singers} singers, {len(utterances.paths)} utterances; trials: {about.trials}, {everything.num_targets} "
        f"of one singer (target) and {everything.num_nontargets} of two (non-target). Scoring: {about.scoring}.",
        f"Intervals: 95 %, from {judgement.num_resamples} resamples of the singers (percentile bootstrap), for trials "
        f"of one singer are not independent of each other.",
    ]
    if (fewest := min(everything.num_targets, everything.num_nontargets)) < MIN_TRIALS_PER_KIND:
        found.append(f"Only {fewest} trials of one kind, fewer than {MIN_TRIALS_PER_KIND}: they say next to nothing.")
    if num_singers < MIN_RELIABLE_SINGERS:
        found.append(
            f"Fewer than {MIN_RELIABLE_SINGERS} singers leave wide intervals, and resampling so few makes them too narrow, "
            f"if anything."
        )
    return found + describe_overlaps(about.overlaps)


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


DISPLAYED_MIN_DCF = "min_dcf_0.05"


def build_evaluation_table(
    judgement: EvaluationResult, utterances: EvaluatedUtterances, about: EvaluationContext
) -> Group:
    """A row for each figure, and below it what limits them."""
    table = Table(title=Text(about.title), show_edge=False)
    for name in ("figure", "value", "95 % over singers"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for figure in build_metric_rows(judgement, about):
        table.add_row(figure.name, figure.value, figure.interval or NO_VALUE)
    return Group(table, *(Text(f"* {note}") for note in build_evaluation_notes(judgement, utterances, about)))


def build_conditions_table(conditions: Sequence[ConditionMetrics]) -> Table:
    """A row per condition; one with too few trials has no rate. The costs at other priors are in the report."""
    table = Table(title="by condition, with 95 % intervals over singers", show_edge=False)
    for name in ("condition", "EER", METRICS[DISPLAYED_MIN_DCF].label, "target trials", "non-target"):
        table.add_column(name, justify="left" if name == "condition" else "right")
    for each in conditions:
        cost = format_condition_cost(each.metrics.get(DISPLAYED_MIN_DCF))
        table.add_row(
            Text(each.condition), format_condition_eer(each), cost, str(each.num_targets), str(each.num_nontargets)
        )
    return table
