"""A judgement on a terminal: its figures, and those of its conditions, with their intervals."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from singer_verify.evaluation.judgement import ConditionFigures, Judgement
from singer_verify.reports.evaluation_about import About
from singer_verify.reports.evaluation_words import ABSENT, figures_in_words, rate_text


def judgement_table(judgement: Judgement, about: About) -> Table:
    """A row for each figure, and what it was found on."""
    table = Table(title=Text(about.title), show_edge=False)
    for name in ("figure", "value", "95 % over singers"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for figure in figures_in_words(judgement):
        table.add_row(figure.name, figure.value, figure.interval or ABSENT)
    everything = judgement.conditions[0]
    num_trials = everything.num_targets + everything.num_nontargets
    table.caption = Text(
        f"{num_trials} trials ({about.trials}), {everything.num_targets} of them target, by "
        f"{len(judgement.of_singers)} singers; scoring: {about.scoring}"
    )
    return table


def conditions_table(conditions: Sequence[ConditionFigures]) -> Table:
    """A row per condition; one with too few trials has no rate."""
    priors = sorted({prior for each in conditions for prior in each.min_dcf})
    table = Table(title="by condition", show_edge=False)
    headings = ("EER [95 % over singers]", *(f"minDCF {prior:g}" for prior in priors), "target", "non-target")
    for name in ("condition", *headings):
        table.add_column(name, justify="left" if name == "condition" else "right")
    for each in conditions:
        costs = [f"{each.min_dcf[prior].value:.3f}" if prior in each.min_dcf else ABSENT for prior in priors]
        counts = (str(each.num_targets), str(each.num_nontargets))
        table.add_row(Text(each.condition), rate_text(each), *costs, *counts)
    return table
