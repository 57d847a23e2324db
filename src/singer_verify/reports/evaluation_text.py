"""A judgement on a terminal: its figures, and those of its conditions, with their intervals."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from singer_verify.evaluation.judgement import ConditionFigures, JudgedUtterances, Judgement
from singer_verify.reports.evaluation_about import About
from singer_verify.reports.evaluation_words import ABSENT, figures_in_words, notes, rate_text


def judgement_table(judgement: Judgement, utterances: JudgedUtterances, about: About) -> Group:
    """A row for each figure, and below it what limits them."""
    table = Table(title=Text(about.title), show_edge=False)
    for name in ("figure", "value", "95 % over singers"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for figure in figures_in_words(judgement, about):
        table.add_row(figure.name, figure.value, figure.interval or ABSENT)
    return Group(table, *(Text(f"* {note}") for note in notes(judgement, utterances, about)))


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
