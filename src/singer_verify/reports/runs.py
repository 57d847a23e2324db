"""The tree of runs as a table."""

from pathlib import PurePosixPath

from rich.table import Table
from rich.text import Text

from singer_verify.runs.tree import RunSummary


def runs_table(runs: list[RunSummary], title: str) -> Table:
    """A row per run; a run that began with another's weights stands below it, one step further in."""
    table = Table(title=title)
    table.add_column("run", overflow="fold")
    for heading in ("features", "loss"):
        table.add_column(heading)
    table.add_column("steps", justify="right")
    table.add_column("best EER", justify="right")
    table.add_column("status")
    depths: dict[str | None, int] = {None: -1}
    for run in runs:
        depths[run.path] = depths[run.parent] + 1
        name = PurePosixPath(run.path).relative_to(run.parent or ".")
        eer = "" if run.best_eer is None else f"{100 * run.best_eer:.2f} %"
        steps = "" if run.steps is None else str(run.steps)
        indented = Text("  " * depths[run.path] + str(name))  # not markup: a sweep's names may hold brackets
        table.add_row(indented, run.features, run.loss, steps, eer, run.status)
    return table
