"""The leaderboard as one page that opens from disk: a sortable table, DET curves, error rates by condition."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from singer_verify.evaluation.comparison import Estimate
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

TEMPLATE = "leaderboard.html.jinja"
BASELINE_COLOUR, OTHER_COLOUR = "#000000", "#b5b5b5"
# Okabe & Ito, without black: told apart by colour-blind readers. Curves beyond these are grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LAST = float("inf")  # where a cell without a figure is sorted


def leaderboard_page(board: Leaderboard) -> str:
    """HTML that needs nothing else: styles, script and drawing are in it, and it may not load anything."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files(__package__) / TEMPLATE).read_text(encoding="utf-8"))
    colours = _colours(board)
    return template.render(
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
