"""The leaderboard as one page that opens from disk: a sortable table, DET curves, error rates by condition."""

from typing import Any

from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.plotting import BLACK, COLOURS, UNKNOWN_GREY
from singer_verify.reports.det_figure import AXIS_LENGTH, build_det_ticks, compute_axis_position, format_svg_points
from singer_verify.reports.html import render_template
from singer_verify.reports.leaderboard.text import (
    DISPLAYED_MIN_DCF,
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
LAST_SORT_KEY = float("inf")  # where a cell without a figure is sorted


def render_leaderboard_page(board: Leaderboard) -> str:
    """HTML that needs nothing else: styles, script and drawing are in it, and it may not load anything."""
    colours = _assign_colours(board)
    return render_template(
        LEADERBOARD_TEMPLATE,
        title=f"Leaderboard, {board.split} split",
        headings=build_headings(board),
        rows=[_build_page_row(standing, board, colours[standing.name]) for standing in board.entries],
        notes=build_leaderboard_notes(board),
        conditions=[each for each in board.conditions if each.has_enough_trials],
        condition_rows=[_build_page_condition_row(standing, board) for standing in board.entries],
        conditions_note=build_conditions_note(board),
        side=AXIS_LENGTH,
        ticks=build_det_ticks(),
    )


def _build_page_row(standing: LeaderboardEntry, board: Leaderboard, colour: str) -> dict[str, Any]:
    texts = format_entry(standing, board)
    keys = [
        texts[0],
        len(standing.seeds),
        standing.eer.value,
        standing.metrics[DISPLAYED_MIN_DCF].value,
        0.0
        if standing.name == board.baseline
        else LAST_SORT_KEY
        if standing.difference is None
        else standing.difference.value,
        LAST_SORT_KEY if standing.p_holm is None else standing.p_holm,
        LAST_SORT_KEY if standing.seconds is None else standing.seconds,
        standing.num_parameters,
        standing.num_bins,
    ]
    return {
        "name": standing.name,
        "cells": list(zip(texts, keys, strict=True)),
        "colour": colour,
        "is_baseline": standing.name == board.baseline,
        "is_significant": is_significant(standing),
        "curve": format_svg_points(board.false_alarms, standing.miss),
        "at_eer": (
            round(compute_axis_position(standing.eer.value), 1),
            round(AXIS_LENGTH - compute_axis_position(standing.eer.value), 1),
        ),
    }


def _build_page_condition_row(standing: LeaderboardEntry, board: Leaderboard) -> list[tuple[str, str | float]]:
    found: list[tuple[str, Estimate]] = [
        (name, standing.condition_eers[name])
        for name in (each.name for each in board.conditions)
        if name in standing.condition_eers
    ]
    name = format_short_name(standing, board)
    return [(name, name), *((format_eer(estimate), estimate.value) for _, estimate in found)]


def _assign_colours(board: Leaderboard) -> dict[str, str]:
    """Black for the baseline, a colour each for the best of the others, grey for the rest."""
    others = [standing.name for standing in board.entries if standing.name != board.baseline]
    chosen = dict.fromkeys(others, PAGE_OTHER_COLOUR) | dict(zip(others, COLOURS, strict=False))
    return chosen | ({board.baseline: PAGE_BASELINE_COLOUR} if board.baseline is not None else {})
