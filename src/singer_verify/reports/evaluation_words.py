"""A judgement in words: each figure with its interval and what it means, and what limits them all."""

import math
from collections.abc import Collection
from dataclasses import dataclass

from singer_verify.evaluation.comparison import Estimate
from singer_verify.evaluation.conditions import FEWEST_TRIALS
from singer_verify.evaluation.judgement import ConditionFigures, JudgedUtterances, Judgement
from singer_verify.reports.evaluation_about import About
from singer_verify.reports.leaderboard_text import ENOUGH_SINGERS
from singer_verify.reports.overlap_words import ACTUAL_DCF, FITTED_MARK, fitted_figures, overlap_sentences

ABSENT = "–"
MIN_DCF = "min_dcf_"
PERCENT = ("eer", "miss_at_threshold", "false_alarm_at_threshold", "auc", "top_1", "top_5")
NAMES = {
    "eer": "EER",
    "threshold": "threshold",
    "miss_at_threshold": "misses at the known threshold",
    "false_alarm_at_threshold": "false alarms at the known threshold",
    "auc": "AUC",
    "cllr": "Cllr",
    "min_cllr": "minimum Cllr",
    "top_1": "top-1 identification",
    "top_5": "top-5 identification",
    "mean_normalised_rank": "mean normalised rank",
}
MEANINGS = {
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
class FigureInWords:
    """A line of the table of figures: the number and its interval are texts."""

    name: str
    value: str
    interval: str
    meaning: str


def figures_in_words(judgement: Judgement, about: About) -> list[FigureInWords]:
    """All figures, those that are read first at the top."""
    fitted = fitted_figures(judgement.figures, about.met)
    return [
        FigureInWords(name_of(key, fitted), value_text(key, estimate), interval_text(key, estimate), meaning_of(key))
        for key, estimate in sorted(judgement.figures.items(), key=lambda item: _place(item[0]))
    ]


def name_of(key: str, fitted: Collection[str] = ()) -> str:
    """What a reader calls a figure; marked, if it is among those that were fitted to the singers judged."""
    mark = FITTED_MARK if key in fitted else ""
    for prefix, name in ((MIN_DCF, "minDCF"), (ACTUAL_DCF, "actual DCF")):
        if key.startswith(prefix):
            return f"{name} at prior {key.removeprefix(prefix)}{mark}"
    return NAMES.get(key, key) + mark


def meaning_of(key: str) -> str:
    """A plain sentence on what a figure says."""
    if key.startswith(MIN_DCF):
        return (
            f"Cost of errors at the best threshold, where a share of {key.removeprefix(MIN_DCF)} of all trials is of "
            f"one singer: 0 is perfect, 1 is deciding without listening."
        )
    if key.startswith(ACTUAL_DCF):
        return "The same cost at the threshold of the model's scoring; what it has more than minDCF is avoidable."
    return MEANINGS.get(key, "")


def value_text(key: str, estimate: Estimate) -> str:
    return f"{100 * estimate.value:.2f} %" if key in PERCENT else f"{estimate.value:.3f}"


def interval_text(key: str, estimate: Estimate) -> str:
    """Empty where there is no interval."""
    if math.isnan(estimate.low):
        return ""
    if key in PERCENT:
        return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f} %"
    return f"{estimate.low:.3f} to {estimate.high:.3f}"


def too_few(condition: ConditionFigures) -> str:
    """Why a condition has no rate."""
    if not condition.num_targets:
        return "no target trials"
    return "too few trials" if condition.num_nontargets else "no non-target trials"


def rate_text(condition: ConditionFigures) -> str:
    """EER in percent with its interval, or why there is none."""
    if condition.eer is None:
        return too_few(condition)
    interval = interval_text("eer", condition.eer)
    return value_text("eer", condition.eer) + (f" [{interval}]" if interval else "")


def cost_text(cost: Estimate | None) -> str:
    """A detection cost with its interval; a dash where there are too few trials."""
    if cost is None:
        return ABSENT
    interval = interval_text(MIN_DCF, cost)
    return value_text(MIN_DCF, cost) + (f" [{interval}]" if interval else "")


def notes(judgement: Judgement, utterances: JudgedUtterances, about: About) -> list[str]:
    """What a reader must know about the figures."""
    everything = judgement.conditions[0]
    num_singers = len(utterances.singers)
    found = [
        f"{num_singers} singers, {len(utterances.paths)} utterances; trials: {about.trials}, {everything.num_targets} "
        f"of one singer (target) and {everything.num_nontargets} of two (non-target). Scoring: {about.scoring}.",
        f"Intervals: 95 %, from {judgement.num_resamples} resamples of the singers (percentile bootstrap), for trials "
        f"of one singer are not independent of each other.",
    ]
    if (fewest := min(everything.num_targets, everything.num_nontargets)) < FEWEST_TRIALS:
        found.append(f"Only {fewest} trials of one kind, fewer than {FEWEST_TRIALS}: they say next to nothing.")
    if num_singers < ENOUGH_SINGERS:
        found.append(
            f"Fewer than {ENOUGH_SINGERS} singers leave wide intervals, and resampling so few makes them too narrow, "
            f"if anything."
        )
    return found + overlap_sentences(about.met)


def _place(key: str) -> tuple[int, str]:
    order = ("eer", "threshold", "miss_at_", "false_alarm_at_", MIN_DCF, ACTUAL_DCF, "auc", "cllr", "min_cllr", "top_")
    return next((number for number, start in enumerate(order) if key.startswith(start)), len(order)), key
