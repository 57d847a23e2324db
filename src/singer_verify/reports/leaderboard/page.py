"""The leaderboard as a self-contained page: a sortable table, DET curves, EERs by condition."""

from typing import Any

from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.plotting import BLACK, COLOURS, UNKNOWN_GREY
from singer_verify.reports.det_figure import AXIS_LENGTH, build_det_ticks, compute_axis_position, format_svg_points
from singer_verify.reports.evaluation.text import DISPLAYED_MIN_DCF
from singer_verify.reports.html import render_template
from singer_verify.reports.leaderboard.text import (
    build_conditions_note,
    build_headings,
    build_leaderboard_notes,
    format_eer,
    format_entry,
    format_short_name,
    is_significant,
)
from singer_verify.sweeps.comparison import Leaderboard, LeaderboardEntry

LEADERBOARD_TEMPLATE = "leaderboard/leaderboard.html.jinja"
PAGE_BASELINE_COLOUR, PAGE_OTHER_COLOUR = BLACK, UNKNOWN_GREY  # curves beyond the colours are grey
LAST_SORT_KEY = float("inf")  # of a cell without a value


def render_leaderboard_page(board: Leaderboard) -> str:
    """Render a self-contained HTML page: styles, script and drawing are embedded, and it may not load anything."""
    colours = _assign_colours(board)
    return render_template(
        LEADERBOARD_TEMPLATE,
        title=f"Leaderboard, {board.split} split",
        headings=build_headings(board),
        rows=[_build_page_row(entry, board, colours[entry.name]) for entry in board.entries],
        notes=build_leaderboard_notes(board),
        conditions=[each for each in board.conditions if each.has_enough_trials],
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


def _build_page_condition_row(entry: LeaderboardEntry, board: Leaderboard) -> list[tuple[str, str | float]]:
    found: list[tuple[str, Estimate]] = [
        (name, entry.condition_eers[name])
        for name in (each.name for each in board.conditions)
        if name in entry.condition_eers
    ]
    name = format_short_name(entry, board)
    return [(name, name), *((format_eer(estimate), estimate.value) for _, estimate in found)]


def _assign_colours(board: Leaderboard) -> dict[str, str]:
    """Assign black to the baseline, a colour to each of the best others, grey to the rest."""
    others = [entry.name for entry in board.entries if entry.name != board.baseline]
    chosen = dict.fromkeys(others, PAGE_OTHER_COLOUR) | dict(zip(others, COLOURS, strict=False))
    return chosen | ({board.baseline: PAGE_BASELINE_COLOUR} if board.baseline is not None else {})
