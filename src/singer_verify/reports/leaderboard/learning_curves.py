"""Learning curves in words, as tables, files and a figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from singer_verify.atomic_files import write_files_atomically
from singer_verify.evaluation.metrics.bootstrap import MIN_RELIABLE_SINGERS, Estimate
from singer_verify.plotting import COLOURS, escape_figure_text, render_figure_files
from singer_verify.reports.latex import escape_latex, format_latex_comments
from singer_verify.reports.leaderboard.names import NAME_SEPARATOR
from singer_verify.reports.leaderboard.text import format_eer
from singer_verify.sweeps.judged_runs import DEFAULT_SPLIT, FOLDS_SPLIT
from singer_verify.sweeps.learning_curves import (
    MIN_FITTED_SIZES,
    MINUTES,
    SINGERS,
    CurvePoint,
    LearningCurve,
    LearningCurves,
)

FILE_NAME = "learning-curve"
MAX_NAMED_SIZE = 100_000
EXTENDED_RANGE = 4.0  # times the largest size, up to which the figure continues a line towards the target
NUM_LINE_POINTS = 60
AXIS_LABELS = {SINGERS: "singers learned from", MINUTES: "minutes of each singer"}
MARKERS = "os^Dv"
MAX_SHORT_NAME = 10  # up to which four names fit side by side
MAX_NAMED_TICKS, MIN_TICK_RATIO = 8, 1.25


def format_size(size: float) -> str:
    """Format a number of singers or minutes with two or three digits."""
    if size > MAX_NAMED_SIZE:
        return "over 100k"
    return f"{float(f'{size:.2g}' if size >= 100 else f'{size:.3g}'):.15g}"


def format_level(curve: LearningCurve) -> str:
    """Format what the runs of a curve have in common besides their settings: the limit of the other size."""
    point = curve.points[0]
    if curve.against == SINGERS:
        return "all minutes" if point.max_minutes is None else f"{point.max_minutes:g} min of each"
    return "all singers" if point.max_singers is None else f"{point.max_singers} singers"


def format_settings(settings: Sequence[str]) -> str:
    """Format the settings that tell curves apart, without the names of groups."""
    return NAME_SEPARATOR.join(settings)


def build_points_table(points: Sequence[CurvePoint]) -> tuple[list[str], list[list[str]]]:
    """Build headings and rows of the EER in percent: a row for each number of singers, a column for each of minutes."""
    limits = sorted({point.max_minutes for point in points}, key=lambda limit: np.inf if limit is None else limit)
    rows: dict[int | None, dict[float | None, CurvePoint]] = {}
    for point in points:
        rows.setdefault(point.max_singers, {})[point.max_minutes] = point
    headings = ["singers", *(_format_minutes_heading(points, limit) for limit in limits)]
    return headings, [
        [
            f"{format_size(next(iter(of_row.values())).num_singers)}{' (all)' if max_singers is None else ''}",
            *(format_eer(of_row[limit].eer) if limit in of_row else "" for limit in limits),
        ]
        for max_singers, of_row in rows.items()
    ]


def _format_minutes_heading(points: Sequence[CurvePoint], limit: float | None) -> str:
    if limit is not None:
        return f"{limit:g} min of each"
    minutes = [point.minutes for point in points if point.max_minutes is None and point.minutes is not None]
    return f"all ({format_size(float(np.mean(minutes)))} min of each)" if minutes else "all minutes"


def build_fits_table(curves: LearningCurves) -> tuple[list[str], list[list[str]]]:
    """Build headings and rows of the fitted lines."""
    headings = ["EER against", "with", "odds × per doubling", f"{100 * curves.target_eer:g} % at"]
    has_settings = len(curves.points) > 1
    rows = [
        [
            *([format_settings(curve.settings)] if has_settings else []),
            curve.against,
            format_level(curve),
            "" if curve.fit is None else _format_bounds(curve.fit.odds_factor, "{:.2f}".format),
            _format_target(curve, curves.target_eer),
        ]
        for curve in curves.curves
    ]
    return ["runs", *headings] if has_settings else headings, rows


def _format_target(curve: LearningCurve, target_eer: float) -> str:
    """Format the size at which a curve reaches the target; a star marks one that is not between measured sizes."""
    if curve.fit is None:
        return f"needs {MIN_FITTED_SIZES} sizes"
    size = curve.fit.find_size(target_eer)
    if size is None:
        return "not named"
    return f"{_format_bounds(size, format_size)}{'' if curve.is_measured(size.value) else ' *'}"


def _format_bounds(estimate: Estimate, form: Any) -> str:
    return f"{form(estimate.value)} [{form(estimate.low)}, {form(estimate.high)}]"


def build_curve_notes(curves: LearningCurves) -> list[str]:
    """Build the notes that a reader must know to interpret the curves."""
    where = "all folds" if curves.split == FOLDS_SPLIT else f"split {curves.split}"
    counts = {len(point.seeds) for points in curves.points.values() for point in points}
    seeds = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else f"{max(counts)}"
    notes = [
        f"EER in %, {'one seed' if counts == {1} else f'means over {seeds} seeds'}. In brackets: 95 % intervals from "
        f"{curves.num_resamples} resamples of the judged singers; who was learned from is not resampled.",
        f"On {where}: {curves.num_singers} singers, {curves.num_utterances} utterances, the same for all runs.",
        "Fits: a line through the logit of the EER and the logarithm of the size. Twice as many multiply the odds of "
        "an error, EER / (1 - EER), by the factor shown; 1 is no change.",
    ]
    notes += _explain_targets(curves)
    if curves.num_singers < MIN_RELIABLE_SINGERS:
        notes.append(
            f"Fewer than {MIN_RELIABLE_SINGERS} judged singers: expect the EER to vary by several percentage points."
        )
    if curves.split == DEFAULT_SPLIT:
        notes.append("The best step of each run was chosen on this split; on other singers the EER will be higher.")
    if curves.left_out:
        listed = ", ".join(f"{path} ({reason})" for path, reason in curves.left_out.items())
        notes.append(f"Left out ({len(curves.left_out)}): {listed}.")
    return notes


def _explain_targets(curves: LearningCurves) -> list[str]:
    """Say which sizes at the target are extrapolated, and where none can be named."""
    notes = []
    for against in (SINGERS, MINUTES):
        fitted = [curve for curve in curves.curves if curve.against == against and curve.fit is not None]
        sizes = {curve: curve.fit.find_size(curves.target_eer) for curve in fitted if curve.fit is not None}
        if beyond := [curve for curve, size in sizes.items() if size and not curve.is_measured(size.value)]:
            low, high = (format_size(bound) for bound in (beyond[0].sizes[0], beyond[0].sizes[-1]))
            notes.append(f"* extrapolated: {against} were measured from {low} to {high}, and a line may bend beyond.")
        if unnamed := [curve for curve, size in sizes.items() if size is None]:
            names = "; ".join(", ".join([*curve.settings, format_level(curve)]) for curve in unnamed)
            notes.append(
                f"No number of {against} is named for {100 * curves.target_eer:g} %, because the EER cannot be said to "
                f"fall with it (the interval of the factor reaches 1): {names}."
            )
    return notes


def build_curves_table(curves: LearningCurves) -> Group:
    """Build the console tables: error rates by size, fits, notes."""
    tables = [
        _build_console_table(_format_points_title(settings), *build_points_table(points))
        for settings, points in curves.points.items()
    ]
    notes = [note if note.startswith("*") else f"- {note}" for note in build_curve_notes(curves)]
    return Group(*tables, _build_console_table("Fits", *build_fits_table(curves)), *map(Text, notes))


def _format_points_title(settings: Sequence[str]) -> str:
    return ", ".join(filter(None, ["EER in %", format_settings(settings)]))


def _build_console_table(title: str, headings: list[str], rows: list[list[str]]) -> Table:
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("EER against", "with", "runs") else "right")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def build_curve_records(curves: LearningCurves) -> dict[str, Any]:
    """Build plain values of all points and fits; rates are between 0 and 1, None where there is none."""
    return {
        "split": curves.split,
        "num_judged_singers": curves.num_singers,
        "target_eer": curves.target_eer,
        "points": [
            {
                "settings": ",".join(settings),
                "max_singers": point.max_singers,
                "max_minutes": point.max_minutes,
                "num_singers": round(point.num_singers, 3),
                "minutes_per_singer": None if point.minutes is None else round(point.minutes, 3),
                "num_seeds": len(point.seeds),
                **_flatten("eer", point.eer),
            }
            for settings, points in curves.points.items()
            for point in points
        ],
        "fits": [_build_fit_record(curve, curves.target_eer) for curve in curves.curves],
    }


def _build_fit_record(curve: LearningCurve, target_eer: float) -> dict[str, Any]:
    fit = curve.fit
    size = None if fit is None else fit.find_size(target_eer)
    return {
        "settings": ",".join(curve.settings),
        "against": curve.against,
        "with": format_level(curve),
        "num_sizes": len(curve.points),
        "smallest": float(curve.sizes[0]),
        "largest": float(curve.sizes[-1]),
        "offset": None if fit is None else fit.offset,
        "slope": None if fit is None else fit.slope,
        **_flatten("odds_factor", None if fit is None else fit.odds_factor),
        **_flatten("size_at_target", size),
        "is_extrapolated": None if size is None else not curve.is_measured(size.value),
    }


def _flatten(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    values = (None,) * 3 if estimate is None else (estimate.value, estimate.low, estimate.high)
    finite = [value if value is not None and np.isfinite(value) else None for value in values]
    return dict(zip((name, f"{name}_low", f"{name}_high"), finite, strict=True))


def format_curves_markdown(curves: LearningCurves) -> str:
    """Format the tables and the notes."""
    parts = []
    for settings, points in curves.points.items():
        parts += [f"{_format_points_title(settings)}:", _format_grid(build_points_table(points))]
    notes = "\n".join(f"- {note}" for note in build_curve_notes(curves)).replace("*", r"\*")
    return "\n\n".join([*parts, "Fits:", _format_grid(build_fits_table(curves)), notes]) + "\n"


def _format_grid(table: tuple[list[str], list[list[str]]]) -> str:
    headings, rows = table
    cells = [[text.replace("|", r"\|").replace("*", r"\*") for text in row] for row in rows]
    return pd.DataFrame(cells, columns=headings).to_markdown(index=False, disable_numparse=True)


def format_curves_latex(curves: LearningCurves) -> str:
    r"""Format `table` environments for `\usepackage{booktabs}`: error rates by size, then fits with the notes."""
    tables = [
        _format_latex_table(build_points_table(points), f"{_format_points_title(settings)}.", f"sizes-{number}")
        for number, (settings, points) in enumerate(curves.points.items(), start=1)
    ]
    notes = " ".join(["Fits.", *build_curve_notes(curves)])
    return "\n".join([*tables, _format_latex_table(build_fits_table(curves), notes, "fits")])


def _format_latex_table(table: tuple[list[str], list[list[str]]], caption: str, label: str) -> str:
    headings, rows = table
    style = pd.DataFrame(rows, columns=headings).style.hide(axis="index").format(escape_latex)
    return style.format_index(escape_latex, axis=1).to_latex(
        hrules=True,
        column_format="l" + "r" * (len(headings) - 1),
        caption=escape_latex(caption),
        label=f"tab:learning-curve-{label}",
        position="htbp",
    )


def plot_learning_curves(curves: LearningCurves) -> Figure:
    """Plot the EER against the number of singers and of minutes, with intervals and fitted lines.

    Of several recipes or encoders, only the curves are drawn that have the largest limit of the other size.
    """
    panels = [against for against in (SINGERS, MINUTES) if any(curve.against == against for curve in curves.curves)]
    figure = Figure(figsize=(1.0 + 4.2 * len(panels), 4.0), layout="constrained")
    for axes, against in zip(np.atleast_1d(figure.subplots(1, len(panels), sharey=True)), panels, strict=True):
        drawn = [curve for curve in curves.curves if curve.against == against]
        if len(curves.points) > 1:
            drawn = list({curve.settings: curve for curve in drawn}.values())  # the last one has the largest limit
        names = name_curves(drawn)
        for number, curve in enumerate(drawn):
            style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
            _draw_curve(axes, curve, number - (len(drawn) - 1) / 2, style, names[number], curves.target_eer)
        _draw_axes(axes, drawn, curves.target_eer, AXIS_LABELS[against])
        axes.set_ylabel("EER in %" if axes.get_subplotspec().is_first_col() else "")
        is_short = max(map(len, names)) <= MAX_SHORT_NAME
        above = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 4 if is_short else 2}
        axes.legend(frameon=False, fontsize="small", **above)
    return figure


def name_curves(drawn: Sequence[LearningCurve]) -> list[str]:
    """Name curves of a panel by what tells them apart: values of settings, and the limit of the other size."""
    settings, levels = [curve.settings for curve in drawn], [format_level(curve) for curve in drawn]
    keys = {tuple(setting.partition("=")[0] for setting in of_curve) for of_curve in settings}
    if len(keys) == 1:
        settings = [tuple(setting.partition("=")[2] for setting in of_curve) for of_curve in settings]
    has_levels = len(set(levels)) > 1 or not all(settings)
    return [
        ", ".join(filter(None, [format_settings(of_curve), level if has_levels else ""]))
        for of_curve, level in zip(settings, levels, strict=True)
    ]


def _draw_curve(
    axes: Axes, curve: LearningCurve, shift: float, look: dict[str, Any], name: str, target_eer: float
) -> None:
    """Draw points with intervals, each curve a little aside of the others, and the line with its interval."""
    beside, colour = curve.sizes * 2.0 ** (0.06 * shift), look["color"]
    eers = [point.eer for point in curve.points]
    values, low, high = (100 * np.array([getattr(eer, name) for eer in eers]) for name in ("value", "low", "high"))
    errors = np.maximum([values - low, high - values], 0.0)
    label = escape_figure_text(name, 60)
    axes.errorbar(beside, values, errors, linestyle="", markersize=4.5, elinewidth=1.1, label=label, zorder=3, **look)
    if curve.fit is None:
        axes.plot(beside, values, color=colour, linewidth=0.8, zorder=2)
        return
    style: dict[str, Any] = {"color": colour, "zorder": 2}
    sizes = np.geomspace(curve.sizes[0], curve.sizes[-1], NUM_LINE_POINTS)
    line = curve.fit.predict(sizes)
    axes.plot(sizes, [100 * eer.value for eer in line], linewidth=1.2, **style)
    bounds = [100 * eer.low for eer in line], [100 * eer.high for eer in line]
    axes.fill_between(sizes, bounds[0], bounds[1], color=colour, alpha=0.1, linewidth=0)
    target = curve.fit.find_size(target_eer)
    if target is not None and curve.sizes[-1] < target.value:
        beyond = np.geomspace(curve.sizes[-1], min(target.value, EXTENDED_RANGE * curve.sizes[-1]), NUM_LINE_POINTS)
        axes.plot(beyond, [100 * eer.value for eer in curve.fit.predict(beyond)], "--", linewidth=0.9, **style)


def _draw_axes(axes: Axes, drawn: Sequence[LearningCurve], target_eer: float, label: str) -> None:
    axes.set_xscale("log", base=2)
    sizes = sorted({float(format_size(size)) for curve in drawn for size in curve.sizes})
    spread = [size for number, size in enumerate(sizes) if number == 0 or size > MIN_TICK_RATIO * sizes[number - 1]]
    beyond = [sizes[-1] * 2.0**doublings for doublings in (1, 2)]
    right = axes.get_xlim()[1]
    axes.xaxis.set_major_locator(FixedLocator([*spread[-MAX_NAMED_TICKS:], *(s for s in beyond if s <= right)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:.0f}" if size >= 10 else f"{size:.2g}"))
    axes.axhline(100 * target_eer, color="0.5", linestyle=":", linewidth=1, zorder=1)
    axes.set_xlabel(label)
    axes.set_ylim(bottom=0)
    axes.grid(color="0.93")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def write_learning_curves(curves: LearningCurves, folder: Path, provenance: str = "") -> None:
    """Write learning-curve.csv (points), -fits.csv, .md, .tex, .png and .svg.

    Args:
        curves: the learning curves.
        folder: folder to write to.
        provenance: what the runs are and how the curves were made; for Markdown, LaTeX and the foot of the figure.

    Raises:
        SingerVerifyError: the folder cannot be written to.
    """
    records = build_curve_records(curves)
    contents = {
        f"{FILE_NAME}.csv": _format_csv(records["points"]),
        f"{FILE_NAME}-fits.csv": _format_csv(records["fits"]),
        f"{FILE_NAME}.md": (
            format_curves_markdown(curves) + "".join(f"- {line}\n" for line in provenance.splitlines())
        ).encode(),
        f"{FILE_NAME}.tex": (format_latex_comments(provenance) + format_curves_latex(curves)).encode(),
    }
    figures = render_figure_files(plot_learning_curves(curves), footer=provenance)
    write_files_atomically(contents | {f"{FILE_NAME}.{suffix}": content for suffix, content in figures.items()}, folder)


def _format_csv(records: list[dict[str, Any]]) -> bytes:
    return str(pd.DataFrame(records).convert_dtypes().to_csv(index=False, lineterminator="\n")).encode()
