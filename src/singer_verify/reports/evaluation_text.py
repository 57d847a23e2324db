"""A judgement on a terminal: its figures, and those of its conditions, with their intervals."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from singer_verify.evaluation.judgement import ConditionFigures, JudgedUtterances, Judgement
from singer_verify.reports.evaluation_about import About
from singer_verify.reports.evaluation_words import ABSENT, cost_text, figures_in_words, notes, rate_text

PRIOR_SHOWN = 0.05


def judgement_table(judgement: Judgement, utterances: JudgedUtterances, about: About) -> Group:
    """A row for each figure, and below it what limits them."""
    table = Table(title=Text(about.title), show_edge=False)
    for name in ("figure", "value", "95 % over singers"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for figure in figures_in_words(judgement, about):
        table.add_row(figure.name, figure.value, figure.interval or ABSENT)
    return Group(table, *(Text(f"* {note}") for note in notes(judgement, utterances, about)))


def conditions_table(conditions: Sequence[ConditionFigures]) -> Table:
    """A row per condition; one with too few trials has no rate. The costs at other priors are in the report."""
    table = Table(title="by condition, with 95 % intervals over singers", show_edge=False)
    for name in ("condition", "EER", f"minDCF at prior {PRIOR_SHOWN:g}", "target trials", "non-target"):
        table.add_column(name, justify="left" if name == "condition" else "right")
    for each in conditions:
        cost = cost_text(each.min_dcf.get(PRIOR_SHOWN))
        table.add_row(Text(each.condition), rate_text(each), cost, str(each.num_targets), str(each.num_nontargets))
    return table
