"""The leaderboard as files: csv for programs, Markdown for a page, LaTeX for a paper."""

import statistics
from typing import Any

import pandas as pd

from singer_verify.evaluation.comparison import Estimate
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

# Characters that LaTeX reads as commands, or that its usual fonts lack.
TEX = {
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


def records(board: Leaderboard) -> list[dict[str, Any]]:
    """A plain dictionary per cell, the lowest EER first; rates between 0 and 1, None where there is no figure."""
    return [_record(standing, board) for standing in board.standings]


def _record(standing: Standing, board: Leaderboard) -> dict[str, Any]:
    seeds = standing.eer_of_seeds
    return {
        "cell": standing.name,
        "num_seeds": len(standing.seeds),
        "seeds": " ".join(map(str, standing.seeds)),
        **_bounded("eer", standing.eer),
        "eer_std_over_seeds": statistics.stdev(seeds) if len(seeds) > 1 else None,
        **_bounded("min_dcf_0.01", standing.min_dcf_01),
        **_bounded("min_dcf_0.05", standing.min_dcf_05),
        **_bounded("difference", standing.difference),
        "p": standing.p,
        "p_holm": standing.p_holm,
        "train_seconds": standing.seconds,
        "num_parameters": standing.num_parameters,
        "num_bins": standing.num_bins,
        "split": board.split,
        "num_singers": board.num_singers,
        **{f"eer {each.name}": _value(standing.eer_of_conditions.get(each.name)) for each in board.conditions},
    }


def _bounded(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    bounds = {} if estimate is None or estimate.low != estimate.low else {"low": estimate.low, "high": estimate.high}
    return {name: _value(estimate), f"{name}_low": bounds.get("low"), f"{name}_high": bounds.get("high")}


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def as_csv(board: Leaderboard) -> str:
    return str(pd.DataFrame(records(board)).to_csv(index=False, lineterminator="\n"))


def as_markdown(board: Leaderboard) -> str:
    """The table, the equal error rates by condition if there are any, and the notes."""
    parts = [_markdown_table(headings(board), [line(standing, board) for standing in board.standings])]
    if any(each.has_enough for each in board.conditions):
        parts.append(f"EER in % by condition:\n\n{_markdown_table(*condition_table(board))}")
    said = [*notes(board), *filter(None, [conditions_note(board)])]
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in said)]) + "\n"


def _markdown_table(names: list[str], rows: list[list[str]]) -> str:
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *rows]
    return "\n".join(f"| {' | '.join(text.replace('|', chr(92) + '|') for text in cells)} |" for cells in lines)


def condition_table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: each cell's EER in percent for every condition that has enough trials."""
    names = [each.name for each in board.conditions if each.has_enough]
    rows = [
        [short_name(standing, board), *(percent(standing.eer_of_conditions[name]) for name in names)]
        for standing in board.standings
    ]
    return [headings(board)[0], *names], rows


def as_latex(board: Leaderboard) -> str:
    r"""A `table` environment for `\usepackage{booktabs}`, with the notes as its caption."""
    rows = [
        [rf"\textbf{{{_tex(text)}}}" if is_significant(standing) and text else _tex(text) for text in cells]
        for standing in board.standings
        for cells in [line(standing, board)]
    ]
    frame = pd.DataFrame(rows, columns=[_tex(name) for name in headings(board)])
    return str(
        frame.to_latex(
            index=False,
            escape=False,
            column_format="l" + "r" * (frame.shape[1] - 1),
            caption=(" ".join(map(_tex, notes(board))), _tex(f"Leaderboard, {board.split} split")),
            label="tab:leaderboard",
            position="htbp",
        )
    )


def _tex(text: str) -> str:
    return "".join(TEX.get(character, character) for character in text)
