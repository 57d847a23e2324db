"""The page of an evaluation, with figures and excerpts of recordings embedded."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from singer_verify.evaluation.metrics.registry import METRICS, MIN_DCF_PREFIX
from singer_verify.evaluation.results import (
    ConditionMetrics,
    ConfusedSingers,
    EvaluatedUtterances,
    EvaluationResult,
    RobustnessResult,
    ScoredTrial,
    SingerMetrics,
)
from singer_verify.inference.evaluation_context import EvaluationContext
from singer_verify.reports.evaluation.confounds import (
    build_confound_remarks,
    build_floor_condition_rows,
    build_floor_rows,
    build_group_rows,
    get_property_name,
    list_group_headings,
)
from singer_verify.reports.evaluation.excerpts import EXCERPT_SECONDS, ExcerptEncoder
from singer_verify.reports.evaluation.figures import FIGURE_CAPTIONS, sort_worst_first
from singer_verify.reports.evaluation.robustness import HEADINGS, build_robustness_notes, build_robustness_rows
from singer_verify.reports.evaluation.text import (
    build_evaluation_notes,
    build_metric_rows,
    format_condition_cost,
    format_condition_eer,
)
from singer_verify.reports.html import render_template

EVALUATION_TEMPLATE = "evaluation/evaluation.html.jinja"
MISSING_SORT_KEY = float("inf")  # of a row without a value
MAX_LISTED_TRIALS = 10  # of each kind


@dataclass(frozen=True)
class PageMedia:
    """The pictures and sounds of a page.

    Attributes:
        pictures: SVG files by the names in `FIGURE_CAPTIONS`.
        excerpts: encoder of excerpts of the recordings.
    """

    pictures: dict[str, bytes]
    excerpts: ExcerptEncoder


def render_evaluation_page(
    result: EvaluationResult,
    utterances: EvaluatedUtterances,
    context: EvaluationContext,
    parts: PageMedia,
    robustness: RobustnessResult | None = None,
) -> str:
    """Render a self-contained HTML page: pictures and sounds are embedded, and it may not load anything."""
    rows = _UtteranceRows(result, utterances, parts.excerpts)
    computed = {
        name for condition in result.conditions for name in condition.metrics if name.startswith(MIN_DCF_PREFIX)
    }
    costs = {name: metric.label for name, metric in METRICS.items() if name in computed}
    return render_template(
        EVALUATION_TEMPLATE,
        title=context.title,
        figures=build_metric_rows(result, context),
        notes=build_evaluation_notes(result, utterances, context),
        condition_headings=["condition", "EER", *costs.values(), "target", "non-target"],
        condition_rows=[_build_condition_row(condition, list(costs)) for condition in result.conditions],
        robustness_headings=HEADINGS,
        robustness_rows=[] if robustness is None else build_robustness_rows(robustness),
        robustness_notes=[] if robustness is None else build_robustness_notes(robustness),
        confounds=_build_confound_tables(result),
        pictures=[(FIGURE_CAPTIONS[name], _encode_svg_uri(svg)) for name, svg in parts.pictures.items()],
        singer_rows=[
            rows.build_singer_row(singer) for singer in sort_worst_first(result.by_singer, utterances.singers)
        ],
        trials={
            "False alarms: non-target trials with the highest scores": rows.trials(result.worst_false_alarms),
            "Misses: target trials with the lowest scores": rows.trials(result.worst_misses),
        },
        confused=[rows.confused(pair) for pair in result.confused],
        seconds=f"{EXCERPT_SECONDS:g}",
    )


@dataclass(frozen=True)
class _UtteranceRows:
    """Build rows that name utterances and play them."""

    result: EvaluationResult
    utterances: EvaluatedUtterances
    excerpts: ExcerptEncoder

    def build_singer_row(self, singer: SingerMetrics) -> list[tuple[str, str | float]]:
        """Build the cells of a singer, each as a text and a sort key."""
        name, nearest = self.utterances.singers[singer.singer], self.utterances.singers[singer.nearest]
        rate = "too few trials" if singer.eer is None else f"{100 * singer.eer:.2f} %"
        counts = [(str(count), float(count)) for count in (singer.num_targets, singer.num_nontargets)]
        return [
            (name, name),
            (rate, MISSING_SORT_KEY if singer.eer is None else singer.eer),
            *counts,
            (nearest, nearest),
        ]

    def trials(self, trials: Sequence[ScoredTrial]) -> list[dict[str, Any]]:
        return [
            {"score": f"{trial.score:.5f}", "sides": [self._build_side(trial.left), self._build_side(trial.right)]}
            for trial in trials[:MAX_LISTED_TRIALS]
        ]

    def confused(self, pair: ConfusedSingers) -> dict[str, Any]:
        return {
            "left": self.utterances.singers[pair.left],
            "right": self.utterances.singers[pair.right],
            "false_alarm": f"{100 * pair.false_alarm:.1f} %",
            "mean_score": f"{pair.mean_score:.3f}",
            "num_trials": pair.num_trials,
            "files": [
                (f"{trial.score:.5f}", self._describe_side(trial.left), self._describe_side(trial.right))
                for trial in pair.trials
            ],
        }

    def _build_side(self, number: int) -> dict[str, str | None]:
        singer, path = self.result.name_side(number, self.utterances)
        sound = None if path is None else self.excerpts.address(path)
        return {"singer": singer, "path": self._describe_side(number), "sound": sound}

    def _describe_side(self, number: int) -> str:
        singer, path = self.result.name_side(number, self.utterances)
        return f"{singer}, enrolled" if path is None else path


def _build_condition_row(condition: ConditionMetrics, names: list[str]) -> list[tuple[str, str | float]]:
    costs = [
        (format_condition_cost(cost), MISSING_SORT_KEY if cost is None else cost.value)
        for cost in map(condition.metrics.get, names)
    ]
    counts = [(str(count), float(count)) for count in (condition.num_targets, condition.num_nontargets)]
    rate = (format_condition_eer(condition), MISSING_SORT_KEY if condition.eer is None else condition.eer.value)
    return [(condition.condition, condition.condition), rate, *costs, *counts]


def _build_confound_tables(result: EvaluationResult) -> dict[str, Any] | None:
    """Build what the page shows of the confounds; None if they were not measured."""
    confounds = result.confounds
    if confounds is None:
        return None
    return {
        "remarks": build_confound_remarks(result),
        "floors": build_floor_rows(confounds),
        "names": [get_property_name(floor.name) for floor in confounds.floors],
        "conditions": build_floor_condition_rows(result, confounds),
        "group_headings": list_group_headings(confounds),
        "groups": build_group_rows(confounds),
        "num_drawn": confounds.num_trials if confounds.is_sampled else None,
    }


def _encode_svg_uri(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
