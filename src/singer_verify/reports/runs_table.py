"""The table of `singer-verify runs`: what each run was trained on, when, how well, how it ended; a row for a sweep."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import PurePosixPath

from rich.table import Table
from rich.text import Text

from singer_verify.runs.tree import RunSummary

OTHER_COLUMNS = 41  # columns of a table without those of the names
MIN_NAME_COLUMNS = 24
NAME_ENDINGS = ",_+/ "  # a long name goes on in another line after one of these


def build_runs_table(runs: list[RunSummary], title: str, width: int | None = None, fold: bool = True) -> Table:
    """Build the table of runs; a run that started from another's weights is indented below it.

    Args:
        runs: parents before children.
        title: title of the table.
        width: columns that the table may take; None does not break names.
        fold: whether the jobs of a sweep are one row.
    """
    table = Table(title=Text(title))
    table.add_column("run")
    for heading in ("steps", "best EER"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("status")
    columns = None if width is None else max(width - OTHER_COLUMNS, MIN_NAME_COLUMNS)
    depths: dict[str | None, int] = {None: -1}
    for sweep, members in groupby(runs, key=lambda run: run.sweep):
        jobs = list(members)
        if sweep is not None and fold:
            _add_sweep(table, sweep, jobs, columns)
            continue
        for run in jobs:
            depths[run.path] = depths[run.parent] + 1
            _add_run(table, run, depths[run.path], columns)
    return table


def _add_run(table: Table, run: RunSummary, depth: int, columns: int | None) -> None:
    name = str(PurePosixPath(run.path).relative_to(run.parent or "."))
    details = [run.corpus, run.features, run.encoder, run.loss, _format_date(run.started)]
    text = _build_name_cell(name, details, 2 * depth, columns)
    if run.reason:
        _append_wrapped(text, run.reason, 2 * depth + 2, columns, "red")
    steps = "" if run.steps is None else str(run.steps)
    table.add_row(text, steps, _format_eer(run.best_eer), run.status)


def _add_sweep(table: Table, sweep: str, jobs: Sequence[RunSummary], columns: int | None) -> None:
    """Add a row for a sweep: how many runs it has and how they ended, the best of their EERs."""
    runs = [job for job in jobs if job.parent is None]  # not those that began with the weights of one
    started = min((run.started for run in runs if run.started), default=None)
    alike = [_join_values(run.corpus for run in runs), _format_date(started), f"a sweep of {len(runs)} runs"]
    text = _build_name_cell(sweep + "/", alike, 0, columns)
    counts = Counter(run.status for run in runs)
    best = min((run.best_eer for run in runs if run.best_eer is not None), default=None)
    status = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    table.add_row(text, "", _format_eer(best), status)


def _join_values(values: Iterable[str | None]) -> str | None:
    return ", ".join(sorted({value for value in values if value})) or None


def _build_name_cell(name: str, details: Sequence[str | None], indent: int, columns: int | None) -> Text:
    """Build a name with what it is in a line below, both broken between words only."""
    text = Text("\n".join(_break_name(name, indent, columns)))
    told = " · ".join(detail for detail in details if detail)
    if told:
        _append_wrapped(text, told, indent + 2, columns, "dim")
    return text


def _append_wrapped(text: Text, words: str, indent: int, columns: int | None, style: str) -> None:
    margin = " " * indent
    lines = (
        [margin + words]
        if columns is None
        else textwrap.wrap(words, columns, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False)
    )
    text.append("\n" + "\n".join(lines), style=style)


def _break_name(name: str, indent: int, columns: int | None) -> list[str]:
    """Break a name that is too long after a comma, an underscore or the like, never within a word that fits."""
    margin, lines, rest = " " * indent, [], name
    space = None if columns is None else max(columns - indent, 8)
    while space is not None and len(rest) > space:
        end = max(rest.rfind(mark, 0, space) for mark in NAME_ENDINGS) + 1 or space
        lines.append(margin + rest[:end])
        rest, margin = rest[end:], " " * (indent + 2)
        space = max((columns or 0) - indent - 2, 8)
    return [*lines, margin + rest]


def _format_eer(eer: float | None) -> str:
    return "" if eer is None else f"{100 * eer:.2f} %"


def _format_date(started: str | None) -> str | None:
    """Format the time when a run began, on this machine's clock: 2026-11-28 14:05."""
    try:
        return None if started is None else datetime.fromisoformat(started).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return started
