"""Similarity of generated voices as console tables, csv, JSON, LaTeX and a figure."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from singer_verify.atomic_files import write_files_atomically
from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.evaluation.similarity import SystemSimilarity
from singer_verify.inference.similarity import PairScore, SimilarityReport, find_worst_pairs
from singer_verify.plotting import BLACK, BLUE, SKY, escape_figure_text, render_figure_files
from singer_verify.reports.console_tables import format_threshold
from singer_verify.reports.estimates import MINUS, format_short_p_value
from singer_verify.reports.evaluation.text import NO_VALUE
from singer_verify.reports.latex import escape_latex

NUM_WORST, MAX_SHOWN_REMARKS = 5, 3
JITTER = 0.16  # of the points of a row, in rows
ROW_INCHES = 0.55


def format_estimate(estimate: Estimate | None, factor: float = 1.0, form: str = ".3f") -> str:
    """Format a value with its interval in square brackets."""
    if estimate is None:
        return NO_VALUE
    value, low, high = (f"{factor * part:{form}}" for part in (estimate.value, estimate.low, estimate.high))
    return (value if math.isnan(estimate.low) else f"{value} [{low}, {high}]").replace("-", MINUS)


def build_similarity_tables(report: SimilarityReport, num_worst: int = NUM_WORST) -> Group:
    """Build the console tables: systems, their differences, the pairs least alike, and notes."""
    parts: list[Table | Text] = [_build_system_table(report)]
    if report.result.differences:
        table = Table(title="Differences of mean scores", box=box.SIMPLE_HEAD, show_edge=False)
        for heading in ("systems", "difference", "p", "common"):
            table.add_column(heading, justify="left" if heading == "systems" else "right", overflow="fold")
        for item in report.result.differences:
            names = f"{_name(item.system)} {MINUS} {_name(item.other)}"
            p = NO_VALUE if item.p is None else format_short_p_value(item.p)
            table.add_row(Text(names), format_estimate(item.score, form="+.3f"), p, str(item.num_items))
        parts.append(table)
    if num_worst:
        parts.append(_build_worst_table(report, num_worst))
    return Group(*parts, *(Text(f"* {note}") for note in build_similarity_notes(report)))


def _name(system: str) -> str:
    return system or "all"


def _build_system_table(report: SimilarityReport) -> Table:
    table = Table(title="Similarity to the target singers", box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("system", overflow="fold")
    for heading, is_shown in _list_columns(report):
        if is_shown:
            table.add_column(heading, justify="right", no_wrap=True)
    for row in report.result.systems:
        table.add_row(Text(_name(row.system)), *_format_system(row, report))
    return table


def _list_columns(report: SimilarityReport) -> list[tuple[str, bool]]:
    return [
        ("score", True),
        ("probability", report.prior is not None),
        ("accepted %", report.threshold is not None),
        ("pairs", True),
        ("singers", True),
        ("songs", True),
    ]


def _format_system(row: SystemSimilarity, report: SimilarityReport) -> list[str]:
    cells = [
        format_estimate(row.score),
        format_estimate(row.probability),
        format_estimate(row.accepted, 100.0, ".1f"),
        *map(str, (row.num_pairs, row.num_singers, row.num_songs)),
    ]
    return [cell for cell, (_, is_shown) in zip(cells, _list_columns(report), strict=True) if is_shown]


def _build_worst_table(report: SimilarityReport, num_worst: int) -> Table:
    table = Table(title="Least like their references", box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("score", justify="right")
    table.add_column("generated", overflow="fold")
    table.add_column("reference", overflow="fold")
    for score in find_worst_pairs(report.pairs, num_worst):
        names = (str(score.pair.generated), str(score.pair.reference))
        table.add_row(f"{score.score:.3f}".replace("-", MINUS), *map(Text, names))
    return table


def build_similarity_notes(report: SimilarityReport) -> list[str]:
    """Build the notes that a reader must know to interpret the scores."""
    notes = [
        "Score: similarity of a generated recording to its reference. In brackets: 95 % intervals, singers and songs "
        "resampled."
    ]
    if report.threshold is not None:
        notes.append(f"Accepted: pairs at or above the threshold {format_threshold(report.threshold)}.")
    if report.prior is not None:
        notes.append(f"Probability: of the same singer, at a prior of {report.prior:g}.")
    if report.result.differences:
        notes.append("Differences: on the singers and songs that both systems have; p after Holm's correction.")
    if report.num_skipped:
        notes.append(f"{report.num_skipped} pairs left out: {'; '.join(report.skipped[:MAX_SHOWN_REMARKS])}")
    remarks = list(dict.fromkeys(remark for score in report.pairs for remark in score.remarks))
    notes += [f"Doubtful: {remark}" for remark in remarks[:MAX_SHOWN_REMARKS]]
    if len(remarks) > MAX_SHOWN_REMARKS:
        num_doubtful = sum(bool(score.remarks) for score in report.pairs)
        notes.append(f"{len(remarks)} remarks in all, on {num_doubtful} pairs: see the column remarks of the pairs.")
    return [*notes, *report.provenance.splitlines()]


def build_similarity_record(report: SimilarityReport) -> dict[str, Any]:
    """Build the contents of similarity.json."""
    return {
        "systems": [_plain(asdict(row)) for row in report.result.systems],
        "differences": [_plain(asdict(row)) for row in report.result.differences],
        "threshold": None if report.threshold is None else asdict(report.threshold),
        "prior": report.prior,
        "pairs": [build_pair_record(score) for score in report.pairs],
        "skipped": list(report.skipped),
        "num_skipped": report.num_skipped,
        "notes": build_similarity_notes(report),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def build_pair_record(score: PairScore) -> dict[str, Any]:
    """Build the row of a pair."""
    pair = {name: str(value) for name, value in vars(score.pair).items()}
    return {
        **pair,
        "score": score.score,
        "probability": score.probability,
        "is_same": score.is_same,
        "remarks": " ".join(score.remarks),
    }


def format_pairs_csv(report: SimilarityReport) -> str:
    """Format a row per pair."""
    return str(pd.DataFrame(map(build_pair_record, report.pairs)).to_csv(index=False, lineterminator="\n"))


def format_systems_csv(report: SimilarityReport) -> str:
    """Format a row per system; intervals in columns of their own."""
    rows = [pd.json_normalize(_plain(asdict(row)), sep="_") for row in report.result.systems]
    return str(pd.concat(rows).to_csv(index=False, lineterminator="\n"))


def format_similarity_latex(report: SimilarityReport) -> str:
    r"""Format a `table` environment of the systems, for `\usepackage{booktabs}`."""
    headings = ["system", *(heading for heading, is_shown in _list_columns(report) if is_shown)]
    rows = [[_name(row.system), *_format_system(row, report)] for row in report.result.systems]
    style = pd.DataFrame(rows, columns=headings).style.hide(axis="index").format(escape_latex)
    caption = "Similarity of generated voices to their target singers, with 95 % intervals over singers and songs."
    text: str = style.format_index(escape_latex, axis=1).to_latex(
        hrules=True,
        column_format="l" + "r" * (len(headings) - 1),
        caption=escape_latex(caption),
        label="tab:similarity",
        position="htbp",
    )
    return "\n".join([*(f"% {line}" for line in ("requires booktabs", *report.provenance.splitlines())), text])


def plot_similarity_by_system(report: SimilarityReport) -> Figure:
    """Plot the scores of all pairs by system, their mean with its interval, and the threshold."""
    systems = report.result.systems
    figure = Figure(figsize=(7.2, 1.3 + ROW_INCHES * len(systems)), layout="constrained")
    axes = figure.subplots()
    generator = np.random.default_rng(0)
    for place, row in enumerate(systems):
        scores = np.array([score.score for score in report.pairs if score.pair.system == row.system])
        spread = generator.uniform(-JITTER, JITTER, len(scores))
        axes.scatter(scores, place + spread, s=9, color=SKY, alpha=0.9, linewidths=0, zorder=2)
        if not math.isnan(row.score.low):
            axes.hlines(place, row.score.low, row.score.high, color=BLUE, linewidth=3, zorder=3)
        axes.plot(row.score.value, place, "D", color=BLUE, markersize=6, zorder=4)
    if report.threshold is not None:
        axes.axvline(report.threshold.score, color=BLACK, linestyle=":", zorder=1)
        axes.annotate(
            "threshold", (report.threshold.score, 1.0), (3, 2), xycoords=("data", "axes fraction"),
            textcoords="offset points", fontsize="small",
        )  # fmt: skip
    axes.set_yticks(range(len(systems)), [escape_figure_text(_name(row.system)) for row in systems])
    axes.set_ylim(len(systems) - 0.5, -0.5)
    axes.set_xlabel("similarity to the target singer: pairs, and mean with 95 % interval")
    axes.grid(axis="x", color="0.9", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def write_similarity(report: SimilarityReport, folder: Path) -> None:
    """Write similarity.json, pairs.csv, systems.csv, systems.tex, and the figure as .png and .svg.

    Raises:
        SingerVerifyError: the folder cannot be written to.
    """
    figures = render_figure_files(plot_similarity_by_system(report), footer=report.provenance)
    contents = {
        "similarity.json": json.dumps(build_similarity_record(report), indent=2, allow_nan=False).encode(),
        "pairs.csv": format_pairs_csv(report).encode("utf-8", "surrogateescape"),
        "systems.csv": format_systems_csv(report).encode("utf-8", "surrogateescape"),
        "systems.tex": format_similarity_latex(report).encode("utf-8", "surrogateescape"),
        **{f"similarity.{suffix}": content for suffix, content in figures.items()},
    }
    write_files_atomically(contents, folder)
