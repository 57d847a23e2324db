"""Probes as a console table, csv, LaTeX, JSON, and a figure of bars with intervals and chance."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from singer_verify.atomic_files import write_files_atomically
from singer_verify.evaluation.metrics.bootstrap import MIN_RELIABLE_SINGERS, SIGNIFICANCE_LEVEL, Estimate
from singer_verify.evaluation.probe_tasks import RECORDING, SINGER
from singer_verify.evaluation.probes import LabelProbes, ProbeScores
from singer_verify.inference.probing import ProbeReport, describe_task
from singer_verify.plotting import BLACK, COLOURS, MAX_TITLE_LENGTH, escape_figure_text, render_figure_files
from singer_verify.reports.estimates import MINUS, flatten_estimate, format_short_p_value
from singer_verify.reports.evaluation.text import NO_VALUE, describe_overlaps
from singer_verify.reports.latex import escape_latex, format_latex_comments

MAX_BARS = 3  # models that are bars side by side
PANEL_COLUMNS, PANEL_INCHES, ROW_INCHES = 2, 1.9, 0.17  # of panels by label: per row; width; height of a model
FONT_SIZES: dict[Any, Any] = {"font.size": 7.0, "axes.labelsize": 7.0, "xtick.labelsize": 6.5, "ytick.labelsize": 6.5}
BAR_INCHES, LABEL_GAP = 0.24, 0.6  # height of a bar; gap between labels, in bars
NARROW_HEADINGS = {"utterances (singers)": "utter-\nances\n(singers)", "majority": "major-\nity"}


def build_probe_records(report: ProbeReport) -> list[dict[str, Any]]:
    """Build a plain dictionary per label and model; shares are between 0 and 1, None where there is none."""
    return [
        {
            "label": probe.task.label,
            "model": model,
            "metric": "r2" if probe.task.is_number else "balanced_accuracy",
            **flatten_estimate("score", scores.score),
            "chance": probe.task.chance,
            **flatten_estimate("accuracy", scores.accuracy),
            "majority": probe.task.majority,
            **flatten_estimate("difference", scores.difference),
            "p_holm": scores.p,
            "num_classes": len(probe.task.classes) or None,
            "num_singers": probe.task.num_singers,
            "num_utterances": len(probe.task.rows),
            "num_unknown": probe.task.num_unknown,
            "num_folds": probe.num_folds,
            "disjoint": probe.task.disjoint,
        }
        for probe in report.probes
        for model, scores in zip(report.models, probe.scores, strict=True)
    ]


def build_probe_summary(report: ProbeReport) -> dict[str, Any]:
    """Build the contents of probes.json: the corpus, the probes, the values left out, and the notes."""
    return {
        "models": list(report.models),
        "place": report.place,
        "num_trainings": list(report.num_trainings),
        "num_singers": report.num_singers,
        "num_utterances": report.num_utterances,
        "num_resamples": report.num_resamples,
        "probes": build_probe_records(report),
        "classes": {probe.task.label: list(probe.task.classes) for probe in report.probes},
        "left_out": {probe.task.label: list(probe.task.left_out) for probe in report.probes},
        "refused": report.refused,
        "remarks": build_probe_notes(report),
    }


def format_probes_csv(report: ProbeReport) -> str:
    """Format all values as csv."""
    return str(pd.DataFrame(build_probe_records(report)).to_csv(index=False, lineterminator="\n"))


def build_probe_headings(report: ProbeReport) -> list[str]:
    """Return the headings of the columns that `format_probe_row` fills."""
    compared = ["model"] if len(report.models) > 1 else []
    difference = ["difference", "p"] if len(report.models) > 1 else ["accuracy %", "majority"]
    return ["label", *compared, "score", "chance", *difference, "utterances (singers)"]


def format_probe_row(probe: LabelProbes, model: str, scores: ProbeScores, report: ProbeReport) -> list[str]:
    """Format the row of a label and a model, intervals in square brackets."""
    task, is_first = probe.task, model == report.models[0]
    label = f"{task.label} (R²)" if task.is_number else f"{task.label} ({len(task.classes)})"
    chance = "0" if task.is_number else f"{100 * task.chance:.1f}"
    if len(report.models) > 1:
        difference = NO_VALUE if scores.difference is None else _format_score(scores.difference, task.is_number, "+")
        further = [difference, NO_VALUE if scores.p is None else format_short_p_value(scores.p)]
    else:
        accuracy = NO_VALUE if scores.accuracy is None else _format_score(scores.accuracy, False)
        further = [accuracy, NO_VALUE if task.majority is None else f"{100 * task.majority:.1f}"]
    score = _format_score(scores.score, task.is_number)
    counts = f"{len(task.rows)} ({task.num_singers})" if is_first else ""
    named = [label if is_first else "", model] if len(report.models) > 1 else [label]
    return [*named, score, chance if is_first else "", *further, counts]


def _format_score(estimate: Estimate, is_number: bool, sign: str = "") -> str:
    """Format a share in percent or an R², with its interval."""
    factor, form = (1.0, f"{sign}.2f") if is_number else (100.0, f"{sign}.1f")
    value, low, high = (f"{factor * part:{form}}" for part in (estimate.value, estimate.low, estimate.high))
    text = value if math.isnan(estimate.low) else f"{value} [{low}, {high}]"
    return text.replace("-", MINUS)


def build_probe_notes(report: ProbeReport) -> list[str]:
    """Build the notes that a reader must know to interpret the probes."""
    notes = [
        f"{report.num_singers} singers, {report.num_utterances} utterances of {report.place}.",
        "Score: balanced accuracy (mean recall of the classes) in %, chance is 1 / number of classes; for numbers R², "
        "the share of their variance that is explained, where 0 is chance. In brackets: 95 % intervals from "
        f"{report.num_resamples} resamples of the singers (percentile bootstrap; the probes are not fitted again).",
        "A probe is a linear model of the frozen embedding, tested on singers it was not fitted to.",
    ]
    if report.has_folds:
        notes.append(
            "Each singer is embedded by the model that has not heard them; probes learn from and are tested on singers "
            "of the same fold, and their predictions in all folds are scored together."
        )
    if max(report.num_trainings, default=1) > 1:
        seeds = ", ".join(f"{name} {count}" for name, count in zip(report.models, report.num_trainings, strict=True))
        notes.append(f"Scores are means over seeds ({seeds}).")
    if len(report.models) > 1:
        notes.append(
            f"Difference: the score minus that of {report.models[0]}, in percentage points (of R² as such), in the "
            f"same resamples; p after Holm's correction."
        )
    if singer := next((probe for probe in report.probes if probe.task.label == SINGER), None):
        notes.append(_describe_singer_probe(singer))
    if report.num_singers < MIN_RELIABLE_SINGERS:
        notes.append(
            f"With fewer than {MIN_RELIABLE_SINGERS} singers, scores vary by several percentage points; intervals "
            f"resampled from so few are too narrow, if anything."
        )
    notes += [sentence for probe in report.probes for sentence in describe_task(probe.task, report.num_utterances)]
    notes += [f"Not probed: {reason}" for reason in report.refused.values()]
    for model, overlaps in zip(report.models, report.overlaps, strict=False):
        notes += [f"{model}: {sentence}" for sentence in describe_overlaps(overlaps)]
    return notes


def _describe_singer_probe(probe: LabelProbes) -> str:
    unit = probe.task.disjoint
    which = f"Label {SINGER}: the same {len(probe.task.classes)} singers to learn from and to be tested on, "
    if unit == RECORDING:
        return f"{which}by other recordings, which may be of the same song."
    return f"{which}by another {unit}."


def build_probe_table(report: ProbeReport) -> Group:
    """Build the console table: a row per label, or a row per model below each label, and notes."""
    is_comparison = len(report.models) > 1
    title = f"Probes on {report.place}" if is_comparison else f"Probes of {report.models[0]} on {report.place}"
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    fill = _add_compared_models if is_comparison else _add_single_model
    fill(table, report)
    return Group(table, *(Text(f"* {note}") for note in build_probe_notes(report)))


def _add_single_model(table: Table, report: ProbeReport) -> None:
    for heading in build_probe_headings(report):
        is_name = heading == "label"
        short = NARROW_HEADINGS.get(heading, heading)
        table.add_column(short, justify="left" if is_name else "right", no_wrap=not is_name, overflow="fold")
    for probe in report.probes:
        table.add_row(*map(Text, format_probe_row(probe, report.models[0], probe.scores[0], report)))


def _add_compared_models(table: Table, report: ProbeReport) -> None:
    """Give each label a line of its own, so that the names of the models have room."""
    table.add_column("label, model", overflow="fold")
    for heading in ("score", "difference", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, probe in enumerate(report.probes):
        if number:
            table.add_section()
        rows = [
            format_probe_row(probe, model, scores, report)
            for model, scores in zip(report.models, probe.scores, strict=True)
        ]
        label, _, _, chance, *_, counts = rows[0]
        table.add_row(Text(label, "bold"), Text(f"chance {chance}"), Text(counts), "")
        for _, model, score, _, difference, p, _ in rows:
            table.add_row(*map(Text, (f"  {model}", score, difference, p)))


def format_probes_latex(report: ProbeReport) -> str:
    r"""Format a `table` environment for `\usepackage{booktabs}`, the notes as its caption."""
    headings = build_probe_headings(report)
    rows = [
        format_probe_row(probe, model, scores, report)
        for probe in report.probes
        for model, scores in zip(report.models, probe.scores, strict=True)
    ]
    num_names = headings.index("score")
    style = pd.DataFrame(rows, columns=headings).style.hide(axis="index").format(escape_latex)
    return style.format_index(escape_latex, axis=1).to_latex(
        hrules=True,
        column_format="l" * num_names + "r" * (len(headings) - num_names),
        caption=(" ".join(map(escape_latex, build_probe_notes(report))), escape_latex(f"Probes on {report.place}")),
        label="tab:probes",
        position="htbp",
    )


def plot_probes(report: ProbeReport) -> Figure:
    """Plot the score of each label and model with its interval over singers, and chance.

    A few models are bars side by side, numbers in a panel of their own; of more, each label has a panel.
    """
    return _plot_bars(report) if len(report.models) <= MAX_BARS else _plot_labels(report)


def _plot_labels(report: ProbeReport) -> Figure:
    """Plot a panel for each label with a row per model; filled where it differs from the first one's."""
    names = _shorten_names(report.models)
    num_columns = min(len(report.probes), PANEL_COLUMNS)
    num_rows = -(-len(report.probes) // PANEL_COLUMNS)
    height = num_rows * (0.75 + ROW_INCHES * len(names)) + 0.4
    with rc_context(FONT_SIZES):
        figure = Figure(figsize=(1.2 + PANEL_INCHES * num_columns, height), layout="constrained")
        panels = figure.subplots(num_rows, num_columns, sharey=True, squeeze=False).ravel()
        for axes, probe in zip(panels, report.probes, strict=False):
            factor = 1.0 if probe.task.is_number else 100.0
            for row, scores in enumerate(probe.scores):
                score = scores.score
                axes.hlines(row, factor * score.low, factor * score.high, color=BLACK, linewidth=1.1, zorder=2)
                is_significant = scores.p is not None and scores.p < SIGNIFICANCE_LEVEL
                face = BLACK if is_significant else "white"
                axes.plot(factor * score.value, row, "o", color=BLACK, markerfacecolor=face, markersize=4.2, zorder=3)
            axes.axvline(factor * probe.task.chance, color=BLACK, linestyle=":", linewidth=1.0, zorder=1)
            axes.set_title(_format_axis_name(probe), fontsize=7.5)
            axes.set_xlabel("R²" if probe.task.is_number else "balanced accuracy in %")
            axes.grid(axis="x", color="0.85", linewidth=0.5)
            axes.tick_params(axis="y", length=0)
            axes.spines[["top", "right", "left"]].set_visible(False)
        panels[0].set_yticks(range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.4, -0.6)
        for axes in panels[len(report.probes) :]:
            axes.set_axis_off()
        marks = [
            Line2D([], [], color=BLACK, marker="o", markerfacecolor="white", markersize=4.2,
                   label="score, 95 % interval"),
            Line2D([], [], color=BLACK, marker="o", markersize=4.2,
                   label=f"differs from {names[0]} (p < {SIGNIFICANCE_LEVEL:g})"),
            Line2D([], [], color=BLACK, linestyle=":", linewidth=1.0, label="chance"),
        ]  # fmt: skip
        figure.legend(handles=marks, loc="outside upper center", ncols=3, frameon=False, fontsize=6.5)
        figure.draw_without_rendering()  # while the sizes hold
    return figure


def _shorten_names(models: Sequence[str]) -> list[str]:
    """Shorten the names of a sweep's cells to the values of their settings where these tell all apart."""
    values = [", ".join(setting.rpartition("=")[2] for setting in name.split(",")) for name in models]
    shortened = values if len(set(values)) == len(values) else models
    return [escape_figure_text(name) for name in shortened]


def _plot_bars(report: ProbeReport) -> Figure:
    """Plot a bar per label and model with its interval over singers, and chance; numbers in a panel of their own."""
    panels = [
        ([probe for probe in report.probes if probe.task.is_number == is_number], is_number)
        for is_number in (False, True)
    ]
    panels = [(probes, is_number) for probes, is_number in panels if probes]
    num_rows = [len(probes) * (len(report.models) + LABEL_GAP) for probes, _ in panels]
    height = 1.4 + 0.6 * (len(panels) - 1) + BAR_INCHES * sum(num_rows)
    figure = Figure(figsize=(7.2, height), layout="constrained")
    rows = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": num_rows}).ravel()
    for axes, (probes, is_number) in zip(rows, panels, strict=True):
        _plot_panel(axes, probes, is_number, len(report.models))
    title = f"{report.place}, {report.num_singers} singers"
    figure.suptitle(escape_figure_text(title, MAX_TITLE_LENGTH), fontsize="medium")
    marks = [
        Patch(color=_get_colour(number), label=escape_figure_text(model)) for number, model in enumerate(report.models)
    ]
    marks = [*marks, Line2D([], [], color=BLACK, linestyle=":", label="chance")]  # type: ignore[list-item]
    figure.legend(handles=marks, loc="outside lower center", ncols=min(4, len(marks)), frameon=False, fontsize="small")
    return figure


def _plot_panel(axes: Axes, probes: Sequence[LabelProbes], is_number: bool, num_models: int) -> None:
    factor = 1.0 if is_number else 100.0
    lows, centres = [0.0], []
    for number, probe in enumerate(probes):
        first = number * (num_models + LABEL_GAP)
        places = first + np.arange(num_models)
        centres.append(float(places.mean()))
        for model, (place, scores) in enumerate(zip(places, probe.scores, strict=True)):
            value, low, high = (factor * part for part in (scores.score.value, scores.score.low, scores.score.high))
            axes.barh(place, value, height=0.9, color=_get_colour(model), zorder=2)
            if math.isfinite(low):
                axes.hlines(place, low, high, color=BLACK, linewidth=1.2, zorder=4)
                axes.vlines([low, high], place - 0.2, place + 0.2, color=BLACK, linewidth=1.2, zorder=4)
            lows.append(min(value, low) if math.isfinite(low) else value)
        axes.vlines(
            factor * probe.task.chance, first - 0.5, first + num_models - 0.5, BLACK, ":", linewidth=1.6, zorder=5
        )
    axes.set_yticks(centres, [_format_axis_name(probe) for probe in probes])
    axes.set_ylim(len(probes) * (num_models + LABEL_GAP) - LABEL_GAP - 0.3, -0.7)
    axes.set_xlim(max(min(lows), -factor), 1.01 * factor)  # so that a cap at the end is seen
    axes.set_xlabel("R², with 95 % intervals" if is_number else "balanced accuracy in %, with 95 % intervals")
    axes.grid(axis="x", color="0.9", zorder=0)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)


def _format_axis_name(probe: LabelProbes) -> str:
    name = escape_figure_text(probe.task.label)
    return name if probe.task.is_number else f"{name} ({len(probe.task.classes)})"


def _get_colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def write_probes(report: ProbeReport, folder: Path, provenance: str = "") -> None:
    """Write probes.json, .csv, .tex, .png and .svg.

    Args:
        report: results of the probes.
        folder: folder to write to.
        provenance: what the models are and how they were probed; for JSON, LaTeX and the foot of the figure.

    Raises:
        SingerVerifyError: the folder cannot be written to.
    """
    contents = {
        "json": json.dumps(
            build_probe_summary(report) | {"provenance": provenance.splitlines()}, indent=2, allow_nan=False
        ).encode(),
        "csv": format_probes_csv(report).encode("utf-8", "surrogateescape"),
        "tex": (format_latex_comments(provenance) + format_probes_latex(report)).encode("utf-8", "surrogateescape"),
        **render_figure_files(plot_probes(report), footer=provenance),
    }
    write_files_atomically({f"probes.{suffix}": content for suffix, content in contents.items()}, folder)


def write_probe_figure(report: ProbeReport, path: Path, provenance: str = "") -> None:
    """Write the figure alone, as the .png that is named, with the provenance at its foot.

    Raises:
        SingerVerifyError: the file cannot be written.
    """
    write_files_atomically(
        {path.name: render_figure_files(plot_probes(report), ("png",), provenance)["png"]}, path.parent
    )
