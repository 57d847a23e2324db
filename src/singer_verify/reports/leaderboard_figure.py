"""The leaderboard as a figure: a dot and an interval per cell, the baseline as a line."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from singer_verify.reports.colours import BLUE, VERMILION
from singer_verify.reports.leaderboard import Leaderboard
from singer_verify.reports.leaderboard_text import headings, is_significant, short_name

COLOUR, BASELINE_COLOUR, SEED_COLOUR = BLUE, VERMILION, "#999999"
LINE_HEIGHT_INCHES = 0.3


def leaderboard_figure(board: Leaderboard) -> Figure:
    """Equal error rates in percent, the lowest on top: the mean over seeds, its interval over singers, each seed."""
    num_cells = len(board.standings)
    figure = Figure(figsize=(7.2, 1.7 + LINE_HEIGHT_INCHES * num_cells), layout="constrained")
    axes = figure.subplots()
    for row, standing in enumerate(board.standings):
        colour = BASELINE_COLOUR if standing.name == board.baseline else COLOUR
        filled = colour if is_significant(standing) or standing.name == board.baseline else "white"
        axes.hlines(row, 100 * standing.eer.low, 100 * standing.eer.high, color=colour, linewidth=1.6, zorder=2)
        seeds = [100 * eer for eer in standing.eer_of_seeds]
        axes.plot(seeds, [row] * len(seeds), "|", color=SEED_COLOUR, markersize=9, zorder=3)
        axes.plot(100 * standing.eer.value, row, "o", color=colour, markerfacecolor=filled, markersize=6.5, zorder=4)
        if standing.name == board.baseline:
            axes.axvline(100 * standing.eer.value, color=BASELINE_COLOUR, linestyle="--", linewidth=1, zorder=1)
    axes.set_yticks(range(num_cells), [short_name(standing, board) for standing in board.standings])
    axes.set_ylim(num_cells - 0.5, -0.5)
    axes.set_ylabel(headings(board)[0])
    axes.set_xlabel(f"EER in %, {board.split} split, with 95 % intervals over {board.num_singers} singers")
    axes.grid(axis="x", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(handles=_legend(board), loc="outside upper center", ncols=4, frameon=False, fontsize="small")
    return figure


def _legend(board: Leaderboard) -> list[Line2D]:
    marks = [Line2D([], [], color=COLOUR, marker="o", markerfacecolor="white", label="mean over seeds")]
    if board.baseline is not None:
        marks += [
            Line2D([], [], color=COLOUR, marker="o", label="differs from baseline (p < 0.05)"),
            Line2D([], [], color=BASELINE_COLOUR, marker="o", label="baseline"),
        ]
    return [*marks, Line2D([], [], color=SEED_COLOUR, marker="|", linestyle="", label="one seed")]
