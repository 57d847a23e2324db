"""The leaderboard as one page that opens from disk: a sortable table, DET curves, error rates by condition."""

from typing import Any

from singer_verify.evaluation.comparison import Estimate
from singer_verify.reports.colours import BLACK, COLOURS, UNKNOWN_GREY
from singer_verify.reports.det_drawing import SIDE, place, svg_points, ticks
from singer_verify.reports.leaderboard import Leaderboard, Standing
from singer_verify.reports.leaderboard_text import (
    conditions_note,
    headings,
    is_significant,
    line,
    notes,
    percent,
    short_name,
)
from singer_verify.reports.pages import rendered

TEMPLATE = "leaderboard.html.jinja"
BASELINE_COLOUR, OTHER_COLOUR = BLACK, UNKNOWN_GREY  # curves beyond the colours are grey
LAST = float("inf")  # where a cell without a figure is sorted


def leaderboard_page(board: Leaderboard) -> str:
    """HTML that needs nothing else: styles, script and drawing are in it, and it may not load anything."""
    colours = _colours(board)
    return rendered(
        TEMPLATE,
        title=f"Leaderboard, {board.split} split",
        headings=headings(board),
        rows=[_row(standing, board, colours[standing.name]) for standing in board.standings],
        notes=notes(board),
        conditions=[each for each in board.conditions if each.has_enough],
        condition_rows=[_condition_row(standing, board) for standing in board.standings],
        conditions_note=conditions_note(board),
        side=SIDE,
        ticks=ticks(),
    )


def _row(standing: Standing, board: Leaderboard, colour: str) -> dict[str, Any]:
    texts = line(standing, board)
    keys = [
        texts[0],
        len(standing.seeds),
        standing.eer.value,
        standing.min_dcf_05.value,
        0.0 if standing.name == board.baseline else LAST if standing.difference is None else standing.difference.value,
        LAST if standing.p_holm is None else standing.p_holm,
        LAST if standing.seconds is None else standing.seconds,
        standing.num_parameters,
        standing.num_bins,
    ]
    return {
        "name": standing.name,
        "cells": list(zip(texts, keys, strict=True)),
        "colour": colour,
        "is_baseline": standing.name == board.baseline,
        "is_significant": is_significant(standing),
        "curve": svg_points(board.false_alarms, standing.miss),
        "at_eer": (round(place(standing.eer.value), 1), round(SIDE - place(standing.eer.value), 1)),
    }


def _condition_row(standing: Standing, board: Leaderboard) -> list[tuple[str, str | float]]:
    found: list[tuple[str, Estimate]] = [
        (name, standing.eer_of_conditions[name])
        for name in (each.name for each in board.conditions)
        if name in standing.eer_of_conditions
    ]
    name = short_name(standing, board)
    return [(name, name), *((percent(estimate), estimate.value) for _, estimate in found)]


def _colours(board: Leaderboard) -> dict[str, str]:
    """Black for the baseline, a colour each for the best of the others, grey for the rest."""
    others = [standing.name for standing in board.standings if standing.name != board.baseline]
    chosen = dict.fromkeys(others, OTHER_COLOUR) | dict(zip(others, COLOURS, strict=False))
    return chosen | ({board.baseline: BASELINE_COLOUR} if board.baseline is not None else {})
