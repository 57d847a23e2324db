"""An evaluation as one page that opens from disk: figures, conditions, singers, and the worst trials to listen to."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from singer_verify.evaluation.judgement import (
    ConditionFigures,
    ConfusedSingers,
    JudgedUtterances,
    Judgement,
    ScoredTrial,
    SingerFigures,
)
from singer_verify.reports.evaluation_about import About
from singer_verify.reports.evaluation_audio import EXCERPT_SECONDS, Excerpts
from singer_verify.reports.evaluation_figures import CAPTIONS
from singer_verify.reports.evaluation_words import (
    cost_text,
    figures_in_words,
    notes,
    rate_text,
)
from singer_verify.reports.pages import rendered
from singer_verify.reports.singers_figure import worst_first

TEMPLATE = "evaluation.html.jinja"
LAST = float("inf")  # where a line without a figure is sorted
MOST_TRIALS = 10  # of a kind, to listen to


@dataclass(frozen=True)
class PageParts:
    """What a page is made of besides the numbers.

    Attributes:
        pictures: SVG files by the names that `CAPTIONS` has.
        excerpts: of the recordings.
    """

    pictures: dict[str, bytes]
    excerpts: Excerpts


def evaluation_page(judgement: Judgement, utterances: JudgedUtterances, about: About, parts: PageParts) -> str:
    """HTML that needs nothing else: pictures and sounds are in it, and it may not load anything."""
    judged = _Judged(utterances, parts.excerpts)
    priors = sorted({prior for each in judgement.conditions for prior in each.min_dcf})
    return rendered(
        TEMPLATE,
        title=about.title,
        figures=figures_in_words(judgement, about),
        notes=notes(judgement, utterances, about),
        condition_headings=["condition", "EER", *(f"minDCF {prior:g}" for prior in priors), "target", "non-target"],
        condition_rows=[_condition_row(each, priors) for each in judgement.conditions],
        pictures=[(CAPTIONS[name], _picture_address(svg)) for name, svg in parts.pictures.items()],
        singer_rows=[judged.singer_row(each) for each in worst_first(judgement.of_singers, utterances.singers)],
        trials={
            "False alarms: two singers with the highest scores": judged.trials(judgement.worst_false_alarms),
            "Misses: one singer with the lowest scores": judged.trials(judgement.worst_misses),
        },
        confused=[judged.confused(each) for each in judgement.confused],
        seconds=f"{EXCERPT_SECONDS:g}",
    )


@dataclass(frozen=True)
class _Judged:
    """The utterances by name and by sound."""

    utterances: JudgedUtterances
    excerpts: Excerpts

    def singer_row(self, each: SingerFigures) -> list[tuple[str, str | float]]:
        name, nearest = self.utterances.singers[each.singer], self.utterances.singers[each.nearest]
        rate = "too few trials" if each.eer is None else f"{100 * each.eer:.2f} %"
        counts = [(str(count), float(count)) for count in (each.num_targets, each.num_nontargets)]
        return [(name, name), (rate, LAST if each.eer is None else each.eer), *counts, (nearest, nearest)]

    def trials(self, trials: Sequence[ScoredTrial]) -> list[dict[str, Any]]:
        return [
            {"score": f"{trial.score:.3f}", "sides": [self._side(trial.left), self._side(trial.right)]}
            for trial in trials[:MOST_TRIALS]
        ]

    def confused(self, pair: ConfusedSingers) -> dict[str, Any]:
        return {
            "left": self.utterances.singers[pair.left],
            "right": self.utterances.singers[pair.right],
            "false_alarm": f"{100 * pair.false_alarm:.1f} %",
            "mean_score": f"{pair.mean_score:.3f}",
            "num_trials": pair.num_trials,
            "files": [
                (f"{trial.score:.3f}", str(self.utterances.paths[trial.left]), str(self.utterances.paths[trial.right]))
                for trial in pair.trials
            ],
        }

    def _side(self, number: int) -> dict[str, str | None]:
        path = str(self.utterances.paths[number])
        singer = self.utterances.singers[self.utterances.singer_index[number]]
        return {"singer": singer, "path": path, "sound": self.excerpts.address(path)}


def _condition_row(each: ConditionFigures, priors: list[float]) -> list[tuple[str, str | float]]:
    costs = [(cost_text(cost), LAST if cost is None else cost.value) for cost in map(each.min_dcf.get, priors)]
    counts = [(str(count), float(count)) for count in (each.num_targets, each.num_nontargets)]
    rate = (rate_text(each), LAST if each.eer is None else each.eer.value)
    return [(each.condition, each.condition), rate, *costs, *counts]


def _picture_address(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
