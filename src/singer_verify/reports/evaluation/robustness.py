"""The robustness of a model as a table, a record, csv, LaTeX and a figure: its EER after each degradation."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.evaluation.metrics.registry import EER
from singer_verify.evaluation.results import DegradedResult, RobustnessResult
from singer_verify.inference.robustness import BOTH_SIDES
from singer_verify.plotting import BLUE, VERMILION
from singer_verify.reports.estimates import MINUS, build_estimate_record, flatten_estimate
from singer_verify.reports.evaluation.text import NO_VALUE
from singer_verify.reports.latex import escape_latex

HEADINGS = ("degradation", "strength", "EER in % [95 %]", "minus clean [95 %]", "lost")
PANEL_COLUMNS, PANEL_INCHES = 4, (1.9, 2.0)
CLEAN, MEAN = "clean", "mean"
IDENTITIES = {"gain": 0.0, "pitch_shift": 0.0, "tempo": 1.0}  # strengths that change nothing, between the others


def build_robustness_record(robustness: RobustnessResult) -> dict[str, Any]:
    """Build plain values; rates are between 0 and 1, None where there is no value or interval."""
    return {
        "sides": robustness.sides,
        "accompaniment": robustness.accompaniment or None,
        "clean_eer": build_estimate_record(robustness.clean),
        "mean_eer": build_estimate_record(robustness.mean_eer),
        "mean_difference": build_estimate_record(robustness.mean_difference),
        "degradations": [
            {
                "degradation": entry.kind,
                "strength": entry.strength,
                "strength_text": entry.strength_text,
                "num_singers": entry.num_singers,
                "difference": build_estimate_record(entry.difference),
                "metrics": _build_metrics_record(entry.metrics),
                "clean_metrics": _build_metrics_record(entry.clean),
                "unusable": dict(entry.unusable),
                "failure": entry.failure or None,
            }
            for entry in robustness.entries
        ],
    }


def _build_metrics_record(metrics: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: build_estimate_record(estimate) for name, estimate in metrics.items()}


def build_robustness_rows(robustness: RobustnessResult) -> list[list[str]]:
    """Build the rows of the table, formatted, below `HEADINGS`: the clean trials, each degradation, their mean."""
    rows = [[CLEAN, "", format_rate(robustness.clean), "", ""]]
    previous = ""
    for entry in robustness.entries:
        name = "" if entry.kind == previous else entry.kind
        previous = entry.kind
        rates = [format_rate(entry.metrics.get(EER)), format_difference(entry.difference)]
        rows.append([name, entry.strength_text, *rates, str(len(entry.unusable))])
    if robustness.mean_eer is not None and len(robustness.entries) > 1:
        rates = [format_rate(robustness.mean_eer), format_difference(robustness.mean_difference)]
        rows.append([MEAN, "", *rates, ""])
    return rows


def format_rate(estimate: Estimate | None) -> str:
    """Format a rate in percent with its interval; a dash stands for none."""
    if estimate is None:
        return NO_VALUE
    interval = "" if math.isnan(estimate.low) else f" [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    return f"{100 * estimate.value:.2f}{interval}"


def format_difference(estimate: Estimate | None) -> str:
    """Format a difference of rates in percentage points with its interval; a dash stands for none."""
    if estimate is None:
        return NO_VALUE
    interval = "" if math.isnan(estimate.low) else f" [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"
    return f"{100 * estimate.value:+.2f}{interval}".replace("-", MINUS)


def build_robustness_notes(robustness: RobustnessResult) -> list[str]:
    """Build the notes that a reader must know to interpret the table."""
    if robustness.sides == BOTH_SIDES:
        notes = ["Both recordings of every trial are degraded."]
    else:
        notes = [
            "Enrolled recordings are clean, test recordings degraded; each pair of utterances counts twice, as either "
            "is the test recording once."
        ]
    notes.append(
        "Minus clean: the paired difference from the same trials of clean recordings, in percentage points, on the "
        "same resamples of the singers."
    )
    if robustness.accompaniment:
        notes.append(f"Accompaniment: {robustness.accompaniment}.")
    if lost := [entry for entry in robustness.entries if entry.unusable]:
        worst = max(lost, key=lambda entry: len(entry.unusable))
        notes.append(
            f"Lost: recordings that became unusable, left out from both sides of the difference: at most "
            f"{len(worst.unusable)} ({worst.kind} {worst.strength_text})."
        )
    notes += [
        f"{entry.kind} {entry.strength_text}: not evaluated: {entry.failure}"
        for entry in robustness.entries
        if entry.failure
    ]
    return notes


def build_robustness_table(robustness: RobustnessResult) -> Group:
    """Build the console table, at most 80 columns wide, and the notes below."""
    table = Table(title="after degradation", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == HEADINGS[0] else "right", no_wrap=True)
    for row in build_robustness_rows(robustness):
        table.add_row(*map(Text, row))  # not markup: an interval's brackets would be lost
    return Group(table, *(Text(f"* {note}") for note in build_robustness_notes(robustness)))


def format_robustness_csv(robustness: RobustnessResult) -> bytes:
    """Format a row per degradation and strength, with all metrics, degraded and clean."""
    rows = []
    for entry in robustness.entries:
        row: dict[str, Any] = {
            "degradation": entry.kind,
            "strength": entry.strength,
            "sides": robustness.sides,
            "num_singers": entry.num_singers,
            "num_unusable": len(entry.unusable),
            **flatten_estimate("eer_difference", entry.difference),
        }
        for prefix, metrics in (("", entry.metrics), ("clean_", entry.clean)):
            for name, estimate in metrics.items():
                row |= flatten_estimate(prefix + name, estimate)
        rows.append(row)
    return str(pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")).encode()


def format_robustness_latex(robustness: RobustnessResult) -> bytes:
    r"""Format a `table` environment for `\usepackage{booktabs}`, the notes as its caption."""
    frame = pd.DataFrame(build_robustness_rows(robustness), columns=list(HEADINGS))
    style = frame.style.hide(axis="index").format(escape_latex).format_index(escape_latex, axis=1)
    text = style.to_latex(
        hrules=True,
        column_format="llrrr",
        caption=" ".join(map(escape_latex, build_robustness_notes(robustness))),
        label="tab:robustness",
        position="htbp",
    )
    return text.encode()


def plot_robustness(robustness: RobustnessResult) -> Figure:
    """Plot the EER by strength with intervals, a panel for each kind of degradation; the clean trials as a line."""
    kinds = list(dict.fromkeys(entry.kind for entry in robustness.entries if entry.metrics))
    num_columns = max(min(len(kinds), PANEL_COLUMNS), 1)
    num_rows = max(-(-len(kinds) // PANEL_COLUMNS), 1)
    width, height = PANEL_INCHES
    figure = Figure(figsize=(max(width * num_columns, 3.2) + 0.5, height * num_rows + 0.5), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, sharey=True, squeeze=False).ravel()
    clean = robustness.clean
    for axes, kind in zip(panels, kinds, strict=False):
        _plot_kind(axes, [entry for entry in robustness.entries if entry.kind == kind and entry.metrics], clean)
        axes.axhline(100 * clean.value, color=VERMILION, linestyle="--", linewidth=1)
        if not math.isnan(clean.low):
            axes.axhspan(100 * clean.low, 100 * clean.high, color=VERMILION, alpha=0.1, linewidth=0)
        axes.set_title(kind.replace("_", " "), fontsize="medium")
        axes.grid(axis="y", color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(kinds) :]:
        axes.set_axis_off()
    panels[0].set_ylim(0, None)
    figure.supylabel("EER in %", fontsize="medium")
    return figure


def _plot_kind(axes: Axes, entries: list[DegradedResult], clean: Estimate) -> None:
    """Plot the strengths of a kind; between decreases and increases stands what leaves recordings as they are."""
    points = [(entry.strength, entry.strength_text.rpartition(" ")[0], entry.metrics[EER]) for entry in entries]
    identity = IDENTITIES.get(entries[0].kind)
    if identity is not None:
        if identity not in [entry.strength for entry in entries]:
            points.append((identity, f"{identity:g}", Estimate.without_interval(clean.value)))
        points.sort(key=lambda point: point[0])
    places = range(len(points))
    axes.plot(places, [100 * estimate.value for _, _, estimate in points], color=BLUE, linewidth=1.4, zorder=2)
    for place, (strength, _, estimate) in zip(places, points, strict=True):
        filled = "white" if strength == identity else BLUE
        axes.plot(place, 100 * estimate.value, "o", color=BLUE, markerfacecolor=filled, markersize=5, zorder=3)
        if not math.isnan(estimate.low):
            axes.vlines(place, 100 * estimate.low, 100 * estimate.high, color=BLUE, linewidth=1.4, zorder=2)
    axes.set_xticks(places, [text for _, text, _ in points], fontsize="small")
    axes.set_xlim(-0.5, len(points) - 0.5)
    axes.set_xlabel(entries[0].strength_text.rpartition(" ")[2], fontsize="small")
