"""The leaderboard as files: csv, Markdown, LaTeX, figures and a page."""

import statistics
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from singer_verify.atomic_files import write_files_atomically
from singer_verify.errors import require_choice
from singer_verify.evaluation.metrics.bootstrap import MIN_RELIABLE_SINGERS, SIGNIFICANCE_LEVEL, Estimate
from singer_verify.evaluation.metrics.registry import METRICS
from singer_verify.plotting import render_figure_files
from singer_verify.reports.estimates import flatten_estimate
from singer_verify.reports.latex import escape_latex
from singer_verify.reports.leaderboard.figures import plot_leaderboard, plot_power
from singer_verify.reports.leaderboard.names import (
    format_name_heading,
    format_short_name,
    group_entries,
    has_group_title,
    name_by_values,
)
from singer_verify.reports.leaderboard.page import render_leaderboard_page
from singer_verify.reports.leaderboard.robustness import (
    build_robustness_table,
    format_robustness_csv,
    plot_robustness,
)
from singer_verify.reports.leaderboard.text import (
    DEFAULT_EFFECTS,
    build_conditions_note,
    build_corpus_table,
    build_headings,
    build_leaderboard_notes,
    build_power_table,
    format_count,
    format_degraded_eer,
    format_eer,
    format_entry,
    format_min_dcf,
    format_paired_difference,
    format_split,
    is_significant,
    list_conditions,
)
from singer_verify.sweeps.comparison import Leaderboard, LeaderboardEntry

FIGURE_SUFFIXES = ("png", "svg", "pdf")
MAX_CORPUS_CHARACTERS = 40  # of names of corpora in a caption
MAX_COLUMN_CHARACTERS = 60  # of a row that fits a column of 3.4 inches in footnote size


def build_leaderboard_records(board: Leaderboard) -> list[dict[str, Any]]:
    """Build a plain dictionary per cell, the lowest EER first; rates are between 0 and 1, None where there is none."""
    return [_build_entry_record(entry, board) for entry in board.entries]


def _build_entry_record(entry: LeaderboardEntry, board: Leaderboard) -> dict[str, Any]:
    seeds = entry.seed_eers
    return {
        "cell": entry.name,
        "num_seeds": len(entry.seeds),
        "seeds": " ".join(map(str, entry.seeds)),
        **{key: value for metric in entry.metrics.items() for key, value in flatten_estimate(*metric).items()},
        "eer_std_over_seeds": statistics.stdev(seeds) if len(seeds) > 1 else None,
        **flatten_estimate("difference", entry.difference),
        "p": entry.p,
        "p_holm": entry.p_holm,
        "train_seconds": entry.seconds,
        "num_parameters": entry.num_parameters,
        "num_bins": entry.num_bins,
        "speed": entry.speed,
        **flatten_estimate("degraded_eer", None if entry.robustness is None else entry.robustness.eer),
        **flatten_estimate("degraded_minus_clean", None if entry.robustness is None else entry.robustness.difference),
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
        **flatten_estimate(f"eer on {name}", result.eer),
        **flatten_estimate(f"difference on {name}", None if difference is None else difference.estimate),
        f"p_holm on {name}": None if difference is None else difference.p_holm,
    }


def _get_estimate_value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def format_leaderboard_csv(board: Leaderboard) -> str:
    """Format all values of all cells as csv."""
    return str(pd.DataFrame(build_leaderboard_records(board)).to_csv(index=False, lineterminator="\n"))


def format_leaderboard_markdown(board: Leaderboard, effects: Sequence[float] = DEFAULT_EFFECTS) -> str:
    """Format the table, the EERs by corpus and condition if there are any, the table of power, and the notes.

    Args:
        board: the leaderboard.
        effects: true differences that the table of power is for.
    """
    parts = [_format_markdown_table(build_headings(board), [format_entry(entry, board) for entry in board.entries])]
    if board.corpora:
        parts.append(f"By corpus:\n\n{_format_markdown_table(*build_corpus_table(board))}")
    if any(condition.has_enough_trials for condition in board.conditions):
        parts.append(f"EER in % by condition:\n\n{_format_markdown_table(*build_condition_table(board))}")
    if board.degradations:
        table = _format_markdown_table(*build_robustness_table(board))
        parts.append(f"After degradation of the test recordings, EER in % and points:\n\n{table}")
    if board.power:
        parts.append(f"Singers needed for 80 % power:\n\n{_format_markdown_table(*build_power_table(board, effects))}")
    said = [*build_leaderboard_notes(board), *filter(None, [build_conditions_note(board)])]
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in said)]) + "\n"


def _format_markdown_table(headings: list[str], rows: list[list[str]]) -> str:
    frame = pd.DataFrame(rows, columns=headings).map(lambda text: text.replace("|", r"\|"))
    alignment = ("left", *["right"] * (len(headings) - 1))
    names = [name.replace("|", r"\|") for name in headings]
    return frame.to_markdown(index=False, headers=names, colalign=alignment, disable_numparse=True)


def build_condition_table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Build headings and rows of the EER in percent of each cell and condition that has enough trials."""
    names = [condition.name for condition in list_conditions(board)]
    rows = [
        [format_short_name(entry, board), *(format_eer(entry.condition_eers[name]) for name in names)]
        for entry in board.entries
    ]
    return [build_headings(board)[0], *names], rows


def build_latex_columns(board: Leaderboard) -> dict[str, tuple[str, Callable[[LeaderboardEntry], str]]]:
    """Build the columns that a LaTeX table may have: the heading of each, and what formats a cell's value."""

    def format_metric(name: str) -> Callable[[LeaderboardEntry], str]:
        form = format_eer if METRICS[name].is_percentage else format_min_dcf
        return lambda entry: form(entry.metrics[name])

    def format_difference(part: int) -> Callable[[LeaderboardEntry], str]:
        return lambda entry: (
            ["baseline", ""] if entry.name == board.baseline else format_paired_difference(entry.compared)
        )[part]

    def format_condition(name: str) -> Callable[[LeaderboardEntry], str]:
        return lambda entry: format_eer(entry.condition_eers[name])

    def format_corpus(name: str) -> Callable[[LeaderboardEntry], str]:
        return lambda entry: format_eer(entry.corpora[name].eer)

    compared: dict[str, tuple[str, Callable[[LeaderboardEntry], str]]] = {
        "difference": ("difference", format_difference(0)),
        "p": ("p", format_difference(1)),
    }
    return {
        **{name: (metric.label + " %" * metric.is_percentage, format_metric(name)) for name, metric in METRICS.items()},
        **(compared if board.baseline is not None else {}),
        **{name: (f"EER %, {name}", format_corpus(name)) for name in (corpus.name for corpus in board.corpora)},
        **{name: (f"EER %, {name}", format_condition(name)) for name in (one.name for one in list_conditions(board))},
        **({"degraded": ("EER %, degraded", format_degraded_eer)} if board.degradations else {}),
        "seeds": ("seeds", lambda entry: str(len(entry.seeds))),
        "params": ("params", lambda entry: format_count(entry.num_parameters)),
        "bins": ("bins", lambda entry: str(entry.num_bins)),
        "train_s": ("train s", lambda entry: "--" if entry.seconds is None else f"{entry.seconds:.0f}"),
    }


def format_leaderboard_latex(board: Leaderboard, columns: Sequence[str] | None = None) -> str:
    r"""Format a `table` environment for `\usepackage{booktabs}`: grouped by encoder, significant differences in bold.

    A table that is too wide for a column becomes a `table*`, which spans two.

    Args:
        board: the leaderboard.
        columns: what to show of each cell: metrics, `difference`, `p`, corpora, conditions, `seeds`, `params`, `bins`
            and `train_s`; None shows the EER and its difference from the baseline.

    Raises:
        SingerVerifyError: there is no such column.
    """
    available = build_latex_columns(board)
    chosen = columns or [name for name in ("eer", "difference", "p") if name in available]
    for name in chosen:
        require_choice(tuple(available), **{"--columns": name})
    groups = group_entries(board)
    titled = [(encoder, cells, has_group_title(encoder, cells, board)) for encoder, cells in groups.items()]
    named = [(entry, name) for _, cells, _ in titled for entry, name in cells]
    headings = [format_name_heading(board), *(available[name][0] for name in chosen)]
    if len(groups) > 1:
        headings[0] = "cell"
    rows = [[name, *(available[column][1](entry) for column in chosen)] for entry, name in named]
    frame = pd.DataFrame(rows, columns=headings)
    bold = ["textbf: --rwrap;" if is_significant(entry) else "" for entry, _ in named]
    compared: list[Hashable] = [available[name][0] for name in ("difference", "p") if name in chosen] or [headings[0]]
    style = frame.style.hide(axis="index").format(escape_latex).format_index(escape_latex, axis=1)
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    is_narrow = sum(widths) + 2 * (len(widths) - 1) <= MAX_COLUMN_CHARACTERS
    text = style.apply(lambda column: bold, axis=0, subset=compared).to_latex(
        hrules=True,
        column_format="@{}l" + "r" * (frame.shape[1] - 1) + "@{}",
        caption=(escape_latex(_build_latex_caption(board)), escape_latex(f"Leaderboard, {format_split(board)}")),
        label="tab:leaderboard",
        position="htbp",
        position_float="centering",
        environment="table" if is_narrow else "table*",
    )
    text = text.replace("\\begin{tabular}", "\\footnotesize\n\\setlength{\\tabcolsep}{3pt}\n\\begin{tabular}", 1)
    lines, row = text.splitlines(), text.splitlines().index(r"\midrule") + 1
    for encoder, cells, has_title in titled:
        if has_title:
            lines.insert(
                row, rf"\multicolumn{{{frame.shape[1]}}}{{@{{}}l@{{}}}}{{\emph{{{escape_latex(encoder)}}}}} \\"
            )
        row += len(cells) + has_title
    comments = [f"% {line}" for line in (r"requires \usepackage{booktabs}", *board.provenance.splitlines())]
    return "\n".join([*comments, *lines, ""])


def _build_latex_caption(board: Leaderboard) -> str:
    num_others = len(board.entries) - 1
    corrected = "p after Holm's correction" if num_others > 1 else "p: two-sided"
    compared = "" if board.baseline is None else (
        f" Difference: from {name_by_values(board)[board.baseline]}, in points, paired; {corrected}; "
        f"bold: p < {SIGNIFICANCE_LEVEL:g}."
    )  # fmt: skip
    corpus = board.corpus if len(board.corpus) <= MAX_CORPUS_CHARACTERS else f"{board.corpus.count('+') + 1} corpora"
    judged = f"{corpus}: " * bool(corpus) + f"{board.num_singers} singers, {format_split(board)}"
    num_seeds = {len(entry.seeds) for entry in board.entries}
    counts = "-".join(map(str, sorted({min(num_seeds), max(num_seeds)})))
    means = "" if num_seeds == {1} else f", mean of {counts} seeds"
    chosen = ", on which best steps were chosen" * (board.split == "val")
    narrow = ", too narrow for so few" * (board.num_singers < MIN_RELIABLE_SINGERS)
    return (
        f"Equal error rate (EER){means}; {judged}{chosen}; in brackets: 95 % intervals over singers{narrow}.{compared}"
    )


def format_power_csv(board: Leaderboard, effects: Sequence[float]) -> str:
    """Format the power curves as csv: for each compared cell and effect, the power by number of singers."""
    best = board.winners[0].name
    records = [
        {
            "best": best,
            "cell": name,
            "effect": effect,
            "is_observed": given is None,
            "num_singers": size,
            "power": power,
        }
        for name, curve in board.power.items()
        for given, effect in [(None, abs(curve.difference)), *((effect, effect) for effect in effects)]
        for size, power in zip(curve.num_singers.tolist(), curve.compute_power(given).tolist(), strict=True)
    ]
    return str(pd.DataFrame(records).to_csv(index=False, lineterminator="\n"))


def write_leaderboard(
    board: Leaderboard,
    folder: Path,
    columns: Sequence[str] | None = None,
    effects: Sequence[float] = DEFAULT_EFFECTS,
) -> list[str]:
    """Write leaderboard.csv, .md, .tex, .html, .png, .svg and .pdf; power and robustness as .csv, .png, .svg and .pdf
    where they were estimated.

    Args:
        board: the leaderboard.
        folder: folder to write to.
        columns: columns of the LaTeX table, see `format_leaderboard_latex`.
        effects: true differences that the table and figure of power are for.

    Returns:
        the names of the files.

    Raises:
        SingerVerifyError: there is no such column, or the folder cannot be written to.
    """
    contents = {
        "csv": format_leaderboard_csv(board).encode(),
        "md": format_leaderboard_markdown(board, effects).encode(),
        "tex": format_leaderboard_latex(board, columns).encode(),
        "html": render_leaderboard_page(board, effects).encode(),
        **render_figure_files(plot_leaderboard(board), FIGURE_SUFFIXES, board.provenance),
    }
    files = {f"leaderboard.{suffix}": content for suffix, content in contents.items()}
    if board.power:
        files["power.csv"] = format_power_csv(board, effects).encode()
        figures = render_figure_files(plot_power(board, effects), FIGURE_SUFFIXES, board.provenance)
        files |= {f"power.{suffix}": content for suffix, content in figures.items()}
    if board.degradations:
        files["robustness.csv"] = format_robustness_csv(board).encode()
        figures = render_figure_files(plot_robustness(board), FIGURE_SUFFIXES, board.provenance)
        files |= {f"robustness.{suffix}": content for suffix, content in figures.items()}
    write_files_atomically(files, folder)
    return list(files)
