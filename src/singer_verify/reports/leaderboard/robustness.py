"""The cells of a leaderboard after each degradation: a table, csv, and a figure for a paper."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from singer_verify.data.degradations import Degradation
from singer_verify.plotting import BLACK, COLOURS, escape_figure_text
from singer_verify.reports.estimates import flatten_estimate
from singer_verify.reports.leaderboard.figures import FONT_SIZES, GREY, LIGHT_GREY
from singer_verify.reports.leaderboard.names import name_by_values
from singer_verify.reports.leaderboard.text import format_eer, format_eer_difference
from singer_verify.sweeps.comparison import Leaderboard, LeaderboardEntry
from singer_verify.sweeps.degraded_runs import CellRobustness

FIGURE_INCHES, CELL_INCHES, MARGIN_INCHES = 5.2, 0.085, 0.95  # width; height of a cell in a row, and of the rest
ROW_GAP = 1.6  # between rows, in cells
MARKERS = "os^DvPX*"


def list_degraded_cells(board: Leaderboard) -> list[tuple[LeaderboardEntry, CellRobustness]]:
    """List the cells that were evaluated after degradations, the lowest EER first."""
    return [(entry, entry.robustness) for entry in board.entries if entry.robustness is not None]


def build_robustness_table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Build headings and rows: for each degradation, the EER of each cell, and its difference from the clean trials."""
    cells, names = list_degraded_cells(board), name_by_values(board)
    rows = [
        [
            *name_degradation(degradation, board),
            *(
                text
                for _, cell in cells
                for text in (format_eer(cell.rates[number].eer), format_eer_difference(cell.rates[number].difference))
            ),
        ]
        for number, degradation in enumerate(board.degradations)
    ]
    mean = [text for _, cell in cells for text in (format_eer(cell.eer), format_eer_difference(cell.difference))]
    columns = [f"{names[entry.name]}{part}" for entry, _ in cells for part in (": EER %", ": minus clean")]
    return ["degradation", "strength", *columns], [*rows, ["mean over kinds", "", *mean]]


def name_degradation(degradation: Degradation, board: Leaderboard) -> tuple[str, str]:
    """Name the kind of a degradation, where it is the first of its kind, and its strength with the unit."""
    first = next(other for other in board.degradations if other.kind == degradation.kind)
    kind, strength = _label(degradation)
    return kind if first is degradation else "", strength


def format_robustness_csv(board: Leaderboard) -> str:
    """Format a row for each cell and degradation; rates are between 0 and 1."""
    records = [
        {
            "cell": entry.name,
            "seeds": " ".join(map(str, cell.seeds)),
            "degradation": rates.degradation.kind,
            "strength": rates.degradation.strength,
            **flatten_estimate("eer", rates.eer),
            **flatten_estimate("clean_eer", rates.clean),
            **flatten_estimate("degraded_minus_clean", rates.difference),
        }
        for entry, cell in list_degraded_cells(board)
        for rates in cell.rates
    ]
    return str(pd.DataFrame(records).to_csv(index=False, lineterminator="\n"))


def plot_robustness(board: Leaderboard) -> Figure:
    """Plot the EER of each cell after each degradation, and its paired difference from the clean trials."""
    cells, names = list_degraded_cells(board), name_by_values(board)
    pitch = len(cells) + ROW_GAP
    height = MARGIN_INCHES + CELL_INCHES * pitch * (len(board.degradations) + 1)
    styles: list[dict[str, Any]] = [
        {"color": colour, "marker": marker}
        for marker, colour, _ in zip(itertools.cycle(MARKERS), itertools.cycle((BLACK, *COLOURS)), cells, strict=False)
    ]
    with rc_context(FONT_SIZES):
        figure = Figure(figsize=(FIGURE_INCHES, height), layout="constrained")
        rates, differences = figure.subplots(1, 2, sharey=True)
        for number, ((_, cell), style) in enumerate(zip(cells, styles, strict=True)):
            places = pitch * np.arange(len(board.degradations) + 1) + number
            every = cell.rates
            _plot_estimates(rates, places, [every[0].clean, *(part.eer for part in every)], style)
            _plot_estimates(differences, places[1:], [part.difference for part in every], style)
        centres = pitch * np.arange(len(board.degradations) + 1) + (len(cells) - 1) / 2
        labels = [" ".join(filter(None, _label(degradation))) for degradation in board.degradations]
        rates.set_yticks(centres, ["clean", *labels])
        rates.set_ylim(centres[-1] + pitch / 2, centres[0] - pitch / 2)
        rates.set_xlim(left=0)
        rates.set_xlabel(f"EER in %, 95 % intervals over {board.num_singers} singers")
        differences.axvline(0, color=GREY, linewidth=0.7, zorder=1)
        differences.set_xlabel("minus the clean trials, in points, paired")
        kinds = [degradation.kind for degradation in board.degradations]
        for axes in (rates, differences):
            for number, (before, kind) in enumerate(zip(["", *kinds], kinds, strict=False)):
                if before != kind:
                    axes.axhline(pitch * number + len(cells) - 1 + (ROW_GAP + 1) / 2, color=LIGHT_GREY, linewidth=0.5)
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x", color=LIGHT_GREY, linewidth=0.5)
            axes.set_axisbelow(True)
            axes.spines[["top", "right", "left"]].set_visible(False)
        handles = [
            Line2D([], [], markersize=3.6, linewidth=1.0, label=escape_figure_text(names[entry.name]), **style)
            for (entry, _), style in zip(cells, styles, strict=True)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False, fontsize=6.5)
        figure.draw_without_rendering()  # while the sizes hold
    return figure


def _label(degradation: Degradation) -> tuple[str, str]:
    return degradation.kind.replace("_", " "), degradation.strength_text


def _plot_estimates(axes: Axes, places: np.ndarray, estimates: list[Any], style: dict[str, Any]) -> None:
    values, low, high = (
        100 * np.array([getattr(part, name) for part in estimates]) for name in ("value", "low", "high")
    )
    axes.hlines(places, low, high, color=style["color"], linewidth=0.9, zorder=2)
    axes.plot(values, places, linestyle="", markersize=3.2, markeredgewidth=0, zorder=3, **style)
