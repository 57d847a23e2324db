"""Figures of a leaderboard for a paper: as wide as a column, in black and grey, told apart by their shapes."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, ScalarFormatter

from singer_verify.evaluation.metrics.bootstrap import SIGNIFICANCE_LEVEL
from singer_verify.evaluation.metrics.power import TARGET_POWER
from singer_verify.plotting import BLACK, escape_figure_text
from singer_verify.reports.leaderboard.names import group_entries, has_group_title, name_by_values
from singer_verify.reports.leaderboard.text import (
    format_effect,
    is_significant,
)
from singer_verify.sweeps.comparison import Leaderboard, LeaderboardEntry

COLUMN_INCHES = 3.4  # of a paper in two columns
ROW_INCHES, MARGIN_INCHES = 0.17, 1.0
FONT_SIZES: dict[Any, Any] = {"font.size": 7.0, "axes.labelsize": 7.0, "xtick.labelsize": 6.5, "ytick.labelsize": 6.5}
GREY, LIGHT_GREY = "0.45", "0.85"
CORPUS_MARKERS = "sD^vPX*"
LINE_STYLES = ("-", "--", "-.", ":")


def plot_leaderboard(board: Leaderboard) -> Figure:
    """Plot the EER of each cell, grouped by encoder, the lowest on top: pooled with its interval, and by corpus."""
    groups = group_entries(board)
    titles = {encoder for encoder, entries in groups.items() if has_group_title(encoder, entries, board)}
    num_rows = len(board.entries) + len(titles)
    height = MARGIN_INCHES + ROW_INCHES * num_rows
    with rc_context(FONT_SIZES):
        figure = Figure(figsize=(COLUMN_INCHES, height), layout="constrained")
        axes = figure.subplots()
        row, ticks, names = 0, list[int](), list[str]()
        for encoder, entries in groups.items():
            if encoder in titles:
                axes.text(
                    -0.02, row, escape_figure_text(encoder), transform=axes.get_yaxis_transform(), ha="right",
                    va="center", fontstyle="italic", fontsize=6.5,
                )  # fmt: skip
                row += 1
            for entry, name in entries:
                _plot_entry(axes, row, entry, board)
                ticks.append(row)
                names.append(escape_figure_text(name))
                row += 1
        baseline = next((entry for entry in board.entries if entry.name == board.baseline), None)
        if baseline is not None:
            axes.axvline(100 * baseline.eer.value, color=GREY, linestyle="--", linewidth=0.7, zorder=1)
        axes.set_yticks(ticks, names)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(row - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"EER in %, 95 % intervals over {board.num_singers} singers")
        axes.grid(axis="x", color=LIGHT_GREY, linewidth=0.5)
        axes.spines[["top", "right", "left"]].set_visible(False)
        figure.legend(
            handles=_build_legend(board), loc="outside upper center", ncols=3, frameon=False, fontsize=6.0,
            handletextpad=0.3, columnspacing=1.0, handlelength=1.6,
        )  # fmt: skip
        figure.draw_without_rendering()  # while the sizes hold
    return figure


def _plot_entry(axes: Axes, row: int, entry: LeaderboardEntry, board: Leaderboard) -> None:
    axes.hlines(row, 100 * entry.eer.low, 100 * entry.eer.high, color=BLACK, linewidth=1.1, zorder=2)
    for marker, corpus in zip(itertools.cycle(CORPUS_MARKERS), board.corpora, strict=False):
        value = 100 * entry.corpora[corpus.name].eer.value
        axes.plot(
            value, row, marker, color=GREY, markerfacecolor="white", markersize=3.2, markeredgewidth=0.6, zorder=3
        )
    fill = BLACK if is_significant(entry) else "white"
    axes.plot(100 * entry.eer.value, row, "o", color=BLACK, markerfacecolor=fill, markersize=4.2, zorder=4)


def _build_legend(board: Leaderboard) -> list[Line2D]:
    marks = [Line2D([], [], color=BLACK, marker="o", markerfacecolor="white", markersize=4.2, label="all trials")]
    if board.baseline is not None:
        differs = f"differs from baseline (p < {SIGNIFICANCE_LEVEL:g})"
        marks += [
            Line2D([], [], color=BLACK, marker="o", markersize=4.2, label=differs),
            Line2D([], [], color=GREY, linestyle="--", linewidth=0.7, label="baseline"),
        ]
    return marks + [
        Line2D([], [], color=GREY, marker=marker, markerfacecolor="white", markersize=3.2, markeredgewidth=0.6,
               linestyle="", label=escape_figure_text(corpus.name))
        for marker, corpus in zip(itertools.cycle(CORPUS_MARKERS), board.corpora, strict=False)
    ]  # fmt: skip


def plot_power(board: Leaderboard, effects: Sequence[float]) -> Figure:
    """Plot the power against the number of singers, for given differences and the observed one of the next best cell.

    For a given difference, the line is the median over the comparisons with the best cell, the band their range.

    Args:
        board: leaderboard with power curves.
        effects: true differences of EERs.
    """
    curves = list(board.power.values())
    names = name_by_values(board)
    with rc_context(FONT_SIZES):
        figure = Figure(figsize=(COLUMN_INCHES, 2.4), layout="constrained")
        axes = figure.subplots()
        for style, effect in zip(itertools.cycle(LINE_STYLES), effects, strict=False):
            powers = 100 * np.stack([curve.compute_power(effect) for curve in curves])
            sizes = curves[0].num_singers
            axes.fill_between(sizes, powers.min(axis=0), powers.max(axis=0), color=LIGHT_GREY, alpha=0.5, linewidth=0)
            axes.plot(
                sizes,
                np.median(powers, axis=0),
                color=BLACK,
                linestyle=style,
                linewidth=1.1,
                label=format_effect(effect),
            )
        (name, first), *_ = board.power.items()
        label = f"{format_effect(round(abs(first.difference), 3))}, observed: {names[name]}"
        axes.plot(
            first.num_singers, 100 * first.compute_power(), color=GREY, marker="o", markersize=2.5, linewidth=0.8,
            label=escape_figure_text(label, 60),
        )  # fmt: skip
        axes.axhline(100 * TARGET_POWER, color=GREY, linewidth=0.6, linestyle=(0, (1, 2)))
        axes.axvline(board.num_singers, color=GREY, linewidth=0.6, linestyle=(0, (1, 2)))
        axes.text(board.num_singers, 101, "singers here", ha="center", va="bottom", fontsize=6.0, color=GREY)
        axes.set_xscale("log")
        axes.set_xticks([10, 20, 50, 100, 200, 500, 1000])
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(first.num_singers[0], first.num_singers[-1])
        axes.set_ylim(0, 100)
        axes.set_xlabel("number of singers")
        axes.set_ylabel("power in %")
        axes.grid(color=LIGHT_GREY, linewidth=0.4)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=6.0, handlelength=2.4)
        figure.draw_without_rendering()
    return figure
