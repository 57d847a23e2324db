"""The leaderboard as files: csv, Markdown, LaTeX, a figure and a page."""

import statistics
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from singer_verify.atomic_files import write_files_atomically
from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.plotting import BLACK, BLUE, COLOURS, UNKNOWN_GREY, VERMILION, render_figure_files
from singer_verify.reports.det_figure import AXIS_LENGTH, build_det_ticks, compute_axis_position, format_svg_points
from singer_verify.reports.evaluation.text import DISPLAYED_MIN_DCF
from singer_verify.reports.html import render_template
from singer_verify.reports.leaderboard.text import (
    build_conditions_note,
    build_corpus_table,
    build_headings,
    build_leaderboard_notes,
    format_eer,
    format_entry,
    format_paired_difference,
    format_short_name,
    format_split,
    has_speeds,
    is_significant,
)
from singer_verify.sweeps.comparison import Leaderboard, LeaderboardEntry

CELL_COLOUR, FIGURE_BASELINE_COLOUR, SEED_COLOUR = BLUE, VERMILION, "#999999"
CELL_ROW_INCHES = 0.3
# Characters that LaTeX reads as commands, or that its usual fonts lack. pandas escapes only the former.
LATEX_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",
        ">": "$>$",
        "−": "$-$",
        "–": "--",
        "·": r"$\cdot$",
    }
)
LEADERBOARD_TEMPLATE = "leaderboard/leaderboard.html.jinja"
PAGE_BASELINE_COLOUR, PAGE_OTHER_COLOUR = BLACK, UNKNOWN_GREY  # curves beyond the colours are grey
LAST_SORT_KEY = float("inf")  # of a cell without a value


def plot_leaderboard(board: Leaderboard) -> Figure:
    """Plot the EER of each cell, the lowest on top: the mean over seeds, its interval over singers, each seed."""
    num_cells = len(board.entries)
    figure = Figure(figsize=(7.2, 1.7 + CELL_ROW_INCHES * num_cells), layout="constrained")
    axes = figure.subplots()
    for row, entry in enumerate(board.entries):
        colour = FIGURE_BASELINE_COLOUR if entry.name == board.baseline else CELL_COLOUR
        filled = colour if is_significant(entry) or entry.name == board.baseline else "white"
        axes.hlines(row, 100 * entry.eer.low, 100 * entry.eer.high, color=colour, linewidth=1.6, zorder=2)
        seeds = [100 * eer for eer in entry.seed_eers]
        axes.plot(seeds, [row] * len(seeds), "|", color=SEED_COLOUR, markersize=9, zorder=3)
        axes.plot(100 * entry.eer.value, row, "o", color=colour, markerfacecolor=filled, markersize=6.5, zorder=4)
        if entry.name == board.baseline:
            axes.axvline(100 * entry.eer.value, color=FIGURE_BASELINE_COLOUR, linestyle="--", linewidth=1, zorder=1)
    axes.set_yticks(range(num_cells), [format_short_name(entry, board) for entry in board.entries])
    axes.set_ylim(num_cells - 0.5, -0.5)
    axes.set_ylabel(build_headings(board)[0])
    axes.set_xlabel(f"EER in %, {format_split(board)}, with 95 % intervals over {board.num_singers} singers")
    axes.grid(axis="x", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(handles=_build_legend(board), loc="outside upper center", ncols=4, frameon=False, fontsize="small")
    return figure


def _build_legend(board: Leaderboard) -> list[Line2D]:
    marks = [Line2D([], [], color=CELL_COLOUR, marker="o", markerfacecolor="white", label="mean over seeds")]
    if board.baseline is not None:
        marks += [
            Line2D([], [], color=CELL_COLOUR, marker="o", label="differs from baseline (p < 0.05)"),
            Line2D([], [], color=FIGURE_BASELINE_COLOUR, marker="o", label="baseline"),
        ]
    return [*marks, Line2D([], [], color=SEED_COLOUR, marker="|", linestyle="", label="one seed")]


def build_leaderboard_records(board: Leaderboard) -> list[dict[str, Any]]:
    """Build a plain dictionary per cell, the lowest EER first; rates are between 0 and 1, None where there is none."""
    return [_build_entry_record(entry, board) for entry in board.entries]


def _build_entry_record(entry: LeaderboardEntry, board: Leaderboard) -> dict[str, Any]:
    seeds = entry.seed_eers
    return {
        "cell": entry.name,
        "num_seeds": len(entry.seeds),
        "seeds": " ".join(map(str, entry.seeds)),
        **{key: value for metric in entry.metrics.items() for key, value in _flatten_estimate(*metric).items()},
        "eer_std_over_seeds": statistics.stdev(seeds) if len(seeds) > 1 else None,
        **_flatten_estimate("difference", entry.difference),
        "p": entry.p,
        "p_holm": entry.p_holm,
        "train_seconds": entry.seconds,
        "num_parameters": entry.num_parameters,
        "num_bins": entry.num_bins,
        "speed": entry.speed,
        **_flatten_estimate("degraded_eer", None if entry.robustness is None else entry.robustness.eer),
        **_flatten_estimate("degraded_minus_clean", None if entry.robustness is None else entry.robustness.difference),
        "split": board.split,
        "num_singers": board.num_singers,
        **{
            f"eer {condition.name}": _get_estimate_value(entry.condition_eers.get(condition.name))
            for condition in board.conditions
        },
        "p_holm_from_best": board.winners[0].p_holm.get(entry.name) if board.winners else None,
        **{key: value for corpus in board.corpora for key, value in _flatten_corpus(corpus.name, entry).items()},
    }


def _flatten_corpus(name: str, entry: LeaderboardEntry) -> dict[str, float | None]:
    result = entry.corpora[name]
    difference = result.difference
    return {
        **_flatten_estimate(f"eer on {name}", result.eer),
        **_flatten_estimate(f"difference on {name}", None if difference is None else difference.estimate),
        f"p_holm on {name}": None if difference is None else difference.p_holm,
    }


def _flatten_estimate(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    bounds = {} if estimate is None or estimate.low != estimate.low else {"low": estimate.low, "high": estimate.high}
    return {name: _get_estimate_value(estimate), f"{name}_low": bounds.get("low"), f"{name}_high": bounds.get("high")}


def _get_estimate_value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def format_leaderboard_csv(board: Leaderboard) -> str:
    """Format all values of all cells as csv."""
    return str(pd.DataFrame(build_leaderboard_records(board)).to_csv(index=False, lineterminator="\n"))


def format_leaderboard_markdown(board: Leaderboard) -> str:
    """Format the table, the EERs by condition if there are any, and the notes."""
    parts = [_format_markdown_table(build_headings(board), [format_entry(entry, board) for entry in board.entries])]
    if board.corpora:
        parts.append(f"By corpus:\n\n{_format_markdown_table(*build_corpus_table(board))}")
    if any(condition.has_enough_trials for condition in board.conditions):
        parts.append(f"EER in % by condition:\n\n{_format_markdown_table(*build_condition_table(board))}")
    said = [*build_leaderboard_notes(board), *filter(None, [build_conditions_note(board)])]
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in said)]) + "\n"


def _format_markdown_table(headings: list[str], rows: list[list[str]]) -> str:
    frame = pd.DataFrame(rows, columns=headings).map(lambda text: text.replace("|", r"\|"))
    alignment = ("left", *["right"] * (len(headings) - 1))
    names = [name.replace("|", r"\|") for name in headings]
    return frame.to_markdown(index=False, headers=names, colalign=alignment, disable_numparse=True)


def build_condition_table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Build headings and rows of the EER in percent of each cell and condition that has enough trials."""
    names = [condition.name for condition in board.conditions if condition.has_enough_trials]
    rows = [
        [format_short_name(entry, board), *(format_eer(entry.condition_eers[name]) for name in names)]
        for entry in board.entries
    ]
    return [build_headings(board)[0], *names], rows


def format_leaderboard_latex(board: Leaderboard) -> str:
    r"""Format a `table` environment for `\usepackage{booktabs}`: significant rows in bold, the notes as its caption."""
    frame = pd.DataFrame([format_entry(entry, board) for entry in board.entries], columns=build_headings(board))
    bold = ["textbf: --rwrap;" if is_significant(entry) else "" for entry in board.entries]
    style = frame.style.hide(axis="index").format(_escape_latex).format_index(_escape_latex, axis=1)
    return style.apply(lambda column: bold, axis=0).to_latex(
        hrules=True,
        column_format="l" + "r" * (frame.shape[1] - 1),
        caption=(
            " ".join(map(_escape_latex, build_leaderboard_notes(board))),
            _escape_latex(f"Leaderboard, {board.split} split"),
        ),
        label="tab:leaderboard",
        position="htbp",
    )


def _escape_latex(text: object) -> str:
    return str(text).translate(LATEX_ESCAPES)


def write_leaderboard(board: Leaderboard, folder: Path) -> None:
    """Write leaderboard.csv, .md, .tex, .html, .png and .svg.

    Raises:
        SingerVerifyError: the folder cannot be written to.
    """
    contents = {
        "csv": format_leaderboard_csv(board).encode(),
        "md": format_leaderboard_markdown(board).encode(),
        "tex": format_leaderboard_latex(board).encode(),
        "html": render_leaderboard_page(board).encode(),
        **render_figure_files(plot_leaderboard(board)),
    }
    write_files_atomically({f"leaderboard.{suffix}": content for suffix, content in contents.items()}, folder)


def render_leaderboard_page(board: Leaderboard) -> str:
    """Render a self-contained HTML page: styles, script and drawing are embedded, and it may not load anything."""
    colours = _assign_colours(board)
    return render_template(
        LEADERBOARD_TEMPLATE,
        title=f"Leaderboard, {board.split} split",
        headings=build_headings(board),
        rows=[_build_page_row(entry, board, colours[entry.name]) for entry in board.entries],
        notes=build_leaderboard_notes(board),
        corpus_headings=build_corpus_table(board)[0],
        corpus_rows=[_build_page_corpus_row(entry, board) for entry in board.entries] if board.corpora else [],
        conditions=[condition for condition in board.conditions if condition.has_enough_trials],
        condition_rows=[_build_page_condition_row(entry, board) for entry in board.entries],
        conditions_note=build_conditions_note(board),
        side=AXIS_LENGTH,
        ticks=build_det_ticks(),
    )


def _build_page_row(entry: LeaderboardEntry, board: Leaderboard, colour: str) -> dict[str, Any]:
    texts = format_entry(entry, board)
    keys = [
        texts[0],
        len(entry.seeds),
        entry.eer.value,
        entry.metrics[DISPLAYED_MIN_DCF].value,
        0.0 if entry.name == board.baseline else LAST_SORT_KEY if entry.difference is None else entry.difference.value,
        LAST_SORT_KEY if entry.p_holm is None else entry.p_holm,
        LAST_SORT_KEY if entry.seconds is None else entry.seconds,
        entry.num_parameters,
        entry.num_bins,
        *([] if entry.robustness is None else [entry.robustness.eer.value]),
        *([LAST_SORT_KEY if entry.speed is None else -entry.speed] if has_speeds(board) else []),
    ]
    return {
        "name": entry.name,
        "cells": list(zip(texts, keys, strict=True)),
        "colour": colour,
        "is_baseline": entry.name == board.baseline,
        "is_significant": is_significant(entry),
        "curve": format_svg_points(board.false_alarms, entry.miss),
        "at_eer": (
            round(compute_axis_position(entry.eer.value), 1),
            round(AXIS_LENGTH - compute_axis_position(entry.eer.value), 1),
        ),
    }


def _build_page_corpus_row(entry: LeaderboardEntry, board: Leaderboard) -> list[tuple[str, str | float]]:
    name = format_short_name(entry, board)
    row: list[tuple[str, str | float]] = [(name, name)]
    for corpus in board.corpora:
        result = entry.corpora[corpus.name]
        row.append((format_eer(result.eer), result.eer.value))
        if board.baseline is not None:
            difference, texts = result.difference, format_paired_difference(result.difference)
            keys = (0.0, LAST_SORT_KEY) if difference is None else (difference.estimate.value, difference.p_holm)
            row += zip(texts, keys, strict=True)
    return row


def _build_page_condition_row(entry: LeaderboardEntry, board: Leaderboard) -> list[tuple[str, str | float]]:
    estimates: list[tuple[str, Estimate]] = [
        (name, entry.condition_eers[name])
        for name in (condition.name for condition in board.conditions)
        if name in entry.condition_eers
    ]
    name = format_short_name(entry, board)
    return [(name, name), *((format_eer(estimate), estimate.value) for _, estimate in estimates)]


def _assign_colours(board: Leaderboard) -> dict[str, str]:
    """Assign black to the baseline, a colour to each of the best others, grey to the rest."""
    others = [entry.name for entry in board.entries if entry.name != board.baseline]
    chosen = dict.fromkeys(others, PAGE_OTHER_COLOUR) | dict(zip(others, COLOURS, strict=False))
    return chosen | ({board.baseline: PAGE_BASELINE_COLOUR} if board.baseline is not None else {})
