"""The leaderboard as a self-contained HTML page."""

import math
from collections.abc import Sequence
from typing import Any

from singer_verify.evaluation.conditions import HARD
from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.plotting import BLACK, COLOURS, UNKNOWN_GREY
from singer_verify.reports.det_figure import AXIS_LENGTH, build_det_ticks, compute_axis_position, format_svg_points
from singer_verify.reports.evaluation.text import DISPLAYED_MIN_DCF
from singer_verify.reports.html import render_template
from singer_verify.reports.leaderboard.names import format_short_name, group_entries, has_group_title
from singer_verify.reports.leaderboard.text import (
    DEFAULT_EFFECTS,
    build_conditions_note,
    build_corpus_table,
    build_headings,
    build_leaderboard_notes,
    build_power_table,
    format_eer,
    format_entry,
    format_paired_difference,
    has_hard_trials,
    has_speeds,
    is_significant,
    list_conditions,
)
from singer_verify.sweeps.comparison import Leaderboard, LeaderboardEntry

LEADERBOARD_TEMPLATE = "leaderboard/leaderboard.html.jinja"
PAGE_BASELINE_COLOUR, PAGE_OTHER_COLOUR = BLACK, UNKNOWN_GREY  # curves beyond the colours are grey
FOREST_STEPS, MAX_FOREST_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2), 7  # steps of the axis of EERs, and how many at most
LAST_SORT_KEY = float("inf")  # of a cell without a value


def render_leaderboard_page(board: Leaderboard, effects: Sequence[float] = DEFAULT_EFFECTS) -> str:
    """Render a self-contained HTML page: styles, script and drawings are embedded, and it may not load anything.

    Args:
        board: the leaderboard.
        effects: true differences that the table of power is for.
    """
    colours = _assign_colours(board)
    return render_template(
        LEADERBOARD_TEMPLATE,
        title=f"Leaderboard, {board.split} split",
        headings=build_headings(board),
        rows=[_build_page_row(entry, board, colours[entry.name]) for entry in board.entries],
        notes=build_leaderboard_notes(board),
        forest=_build_forest(board, colours),
        power_headings=build_power_table(board, effects)[0],
        power_rows=build_power_table(board, effects)[1],
        corpora=board.corpora,
        corpus_headings=build_corpus_table(board)[0],
        corpus_rows=[_build_page_corpus_row(entry, board) for entry in board.entries] if board.corpora else [],
        conditions=list_conditions(board),
        condition_rows=[_build_page_condition_row(entry, board) for entry in board.entries],
        conditions_note=build_conditions_note(board),
        side=AXIS_LENGTH,
        ticks=build_det_ticks(),
    )


def _build_forest(board: Leaderboard, colours: dict[str, str]) -> dict[str, Any]:
    """Build the drawing of all EERs with their intervals, grouped by encoder: places in a drawing 100 wide."""
    groups = group_entries(board)
    highest = max(
        [entry.eer.value if math.isnan(entry.eer.high) else entry.eer.high for entry in board.entries]
        + [result.eer.value for entry in board.entries for result in entry.corpora.values()]
    )
    step = next(step for step in FOREST_STEPS if highest <= MAX_FOREST_TICKS * step)
    num_steps = math.ceil(highest / step)
    numbers = {entry.name: number for number, entry in enumerate(board.entries)}

    def place(rate: float) -> float:
        return round(100 * rate / (num_steps * step), 2)

    rows: list[dict[str, Any]] = []
    for encoder, entries in groups.items():
        if has_group_title(encoder, entries, board):
            rows.append({"group": encoder})
        rows += [
            {
                "name": name,
                "number": numbers[entry.name],
                "title": f"{entry.name}: {format_eer(entry.eer)}",
                "colour": colours[entry.name],
                "eer": place(entry.eer.value),
                "interval": None if math.isnan(entry.eer.low) else (place(entry.eer.low), place(entry.eer.high)),
                "is_filled": is_significant(entry),
                "corpora": [(corpus.name, place(entry.corpora[corpus.name].eer.value)) for corpus in board.corpora],
            }
            for entry, name in entries
        ]
    baseline = next((place(entry.eer.value) for entry in board.entries if entry.name == board.baseline), None)
    ticks = [(100 * number / num_steps, f"{100 * number * step:g}") for number in range(num_steps + 1)]
    return {"rows": rows, "ticks": ticks, "baseline": baseline}


def _build_page_row(entry: LeaderboardEntry, board: Leaderboard, colour: str) -> dict[str, Any]:
    texts = format_entry(entry, board)
    keys = [
        texts[0],
        len(entry.seeds),
        entry.eer.value,
        *([entry.condition_eers[HARD].value] if has_hard_trials(board) else []),
        entry.metrics[DISPLAYED_MIN_DCF].value,
        0.0 if entry.name == board.baseline else LAST_SORT_KEY if entry.difference is None else entry.difference.value,
        LAST_SORT_KEY if entry.p_holm is None else entry.p_holm,
        LAST_SORT_KEY if entry.seconds is None else entry.seconds,
        entry.num_parameters,
        entry.num_bins,
        *([LAST_SORT_KEY if entry.robustness is None else entry.robustness.eer.value] if board.degradations else []),
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
        (condition.name, entry.condition_eers[condition.name]) for condition in list_conditions(board)
    ]
    name = format_short_name(entry, board)
    return [(name, name), *((format_eer(estimate), estimate.value) for _, estimate in estimates)]


def _assign_colours(board: Leaderboard) -> dict[str, str]:
    """Assign black to the baseline, a colour to each of the best others, grey to the rest."""
    others = [entry.name for entry in board.entries if entry.name != board.baseline]
    chosen = dict.fromkeys(others, PAGE_OTHER_COLOUR) | dict(zip(others, COLOURS, strict=False))
    return chosen | ({board.baseline: PAGE_BASELINE_COLOUR} if board.baseline is not None else {})
