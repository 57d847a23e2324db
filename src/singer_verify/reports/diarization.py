"""A diarization as a console table, csv files and a figure."""

import csv
import io
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator
from rich.table import Table
from rich.text import Text

from singer_verify.inference.diarization import Diarization, format_minutes
from singer_verify.inference.enrolment import SILENT, UNKNOWN_SINGER
from singer_verify.inference.rttm import DiarizationError
from singer_verify.plotting import COLOURS, UNKNOWN_GREY
from singer_verify.reports.console_tables import format_threshold

MAX_TABLE_ROWS = 60  # the csv has all
MAX_LEGEND_NAME = 28
MAX_DRAWN_SINGERS = 10  # those who sing longest, then those who score highest
DIARIZATION_WIDTH_INCHES, ROW_INCHES, SCORE_PANEL_INCHES = 9.0, 0.3, 2.4
LINE_STYLES = ("-", "--")  # the second where colours repeat
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
TICK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)
MAX_TICKS = 10


def build_segments_table(diarization: Diarization, recording: str) -> Table:
    """Build the console table of segments, the first `MAX_TABLE_ROWS` of them."""
    segments = diarization.segments
    left = len(segments) - MAX_TABLE_ROWS
    more = f"{left} more segments are in segments.csv\n" if left > 0 else ""
    table = Table(title=Text(recording), caption=Text(more + _format_thresholds(diarization)))
    for name in ("from", "to", "singer", "score"):
        table.add_column(name, justify="left" if name == "singer" else "right")
    for segment in segments[:MAX_TABLE_ROWS]:
        score = "" if segment.score is None else f"{segment.score:.3f}"
        style = None if segment.who in diarization.singers else "dim"
        table.add_row(
            format_minutes(segment.start_s), format_minutes(segment.end_s), Text(segment.who), score, style=style
        )
    return table


def format_diarization_error(error: DiarizationError) -> str:
    """Format the diarization error rate, what it is made of, and how it was computed."""
    overlap = "without time in which several sing" if error.skips_overlap else "time in which several sing included"
    parts = {"missed": error.missed_s, "false alarm": error.false_alarm_s, "confusion": error.confusion_s}
    shares = ", ".join(f"{name} {100 * seconds / error.total_s:.1f}" for name, seconds in parts.items())
    return (
        f"Diarization error rate {100 * error.rate:.1f} % of {error.total_s:.1f} s ({shares}); collar "
        f"{error.collar_s:g} s on each side, {overlap}. Singers: {error.num_singers} found, "
        f"{error.num_reference_singers} in the reference."
    )


def _format_thresholds(diarization: Diarization) -> str:
    """Format a line per threshold, with its singers if there are several."""
    different = dict.fromkeys(diarization.thresholds)
    if not different and diarization.is_clustered:
        return f"{len(diarization.singers)} singers found, numbered as they appear"
    if len(different) < 2:
        return f"threshold {format_threshold(next(iter(different), None))}"
    whose = {
        threshold: [
            name for name, own in zip(diarization.singers, diarization.thresholds, strict=True) if own == threshold
        ]
        for threshold in different
    }
    return "\n".join(
        f"threshold of {', '.join(names)}: {format_threshold(threshold)}" for threshold, names in whose.items()
    )


def format_segments_csv(diarization: Diarization) -> bytes:
    """Format the segments in order: start_s, end_s, who, score."""
    rows = (
        (
            f"{segment.start_s:.3f}",
            f"{segment.end_s:.3f}",
            segment.who,
            "" if segment.score is None else f"{segment.score:.5f}",
        )
        for segment in diarization.segments
    )
    return _format_rows_csv(("start_s", "end_s", "who", "score"), rows)


def format_windows_csv(diarization: Diarization) -> bytes:
    """Format the windows: start_s, end_s, who, the best smoothed score, and the raw score of each singer.

    Windows overlap; the scores of silent windows are meaningless.
    """
    top = diarization.best_scores
    rows = (
        (
            f"{diarization.starts_s[n]:.3f}",
            f"{diarization.ends_s[n]:.3f}",
            who,
            "" if who == SILENT else f"{top[n]:.5f}",
            *(f"{score:.5f}" for score in diarization.scores[n]),
        )
        for n, who in enumerate(diarization.who)
    )
    return _format_rows_csv(
        ("start_s", "end_s", "who", "smoothed_score", *(f"score {name}" for name in diarization.singers)), rows
    )


def _format_rows_csv(header: Iterable[str], rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def plot_diarization(diarization: Diarization, title: str) -> Figure:
    """Plot bars of singers over time, `unknown` in grey, silence blank; below, the smoothed scores and thresholds.

    Args:
        diarization: diarization to plot.
        title: title of the figure.
    """
    singers = choose_drawn_singers(diarization)
    bars_inches = ROW_INCHES * (len(singers) + (not diarization.is_clustered)) + 0.4
    figure = Figure(figsize=(DIARIZATION_WIDTH_INCHES, bars_inches + SCORE_PANEL_INCHES + 0.6), layout="constrained")
    bars, scores = figure.subplots(2, 1, sharex=True, height_ratios=(bars_inches, SCORE_PANEL_INCHES))
    _draw_bars(bars, diarization, singers)
    _draw_scores(scores, diarization, singers)
    bars.set_title(title, fontsize="medium", parse_math=False)
    # Also for singers without a bar, whose colour would not be known.
    legend = figure.legend(
        *scores.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize="small"
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    for axes in (bars, scores):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def choose_drawn_singers(diarization: Diarization) -> list[str]:
    """Choose the singers to draw, in alphabetical order."""
    sung_s = dict.fromkeys(diarization.singers, 0.0)
    for segment in diarization.segments:
        if segment.who in sung_s:
            sung_s[segment.who] += segment.end_s - segment.start_s
    highest = dict(zip(diarization.singers, diarization.smoothed_scores.max(axis=0).tolist(), strict=True))
    ranked = sorted(diarization.singers, key=lambda name: (-sung_s[name], -highest[name]))
    return sorted(ranked[:MAX_DRAWN_SINGERS])


def choose_tick_step_s(seconds: float) -> int:
    """Choose the tick distance: round seconds or minutes, whole hours for very long recordings."""
    fitting = (step for step in TICK_STEPS_S if seconds / step <= MAX_TICKS)
    return next(fitting, 3600 * -int(-seconds // (3600 * MAX_TICKS)))


def _draw_bars(axes: Axes, diarization: Diarization, singers: list[str]) -> None:
    rows = [*singers, *([] if diarization.is_clustered else [UNKNOWN_SINGER])]
    for row, name in enumerate(rows):
        spans = [
            (segment.start_s, segment.end_s - segment.start_s)
            for segment in diarization.segments
            if segment.who == name
        ]
        colour = UNKNOWN_GREY if name == UNKNOWN_SINGER else COLOURS[row % len(COLOURS)]
        axes.broken_barh(spans, (row - 0.35, 0.7), facecolors=colour)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0.0, diarization.seconds)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)


def _draw_scores(axes: Axes, diarization: Diarization, singers: list[str]) -> None:
    middles_s = (diarization.starts_s + diarization.ends_s) / 2
    for number, name in enumerate(singers):
        scores = np.where(
            diarization.is_silent, np.nan, diarization.smoothed_scores[:, diarization.singers.index(name)]
        )
        style = LINE_STYLES[number // len(COLOURS) % len(LINE_STYLES)]
        alone = "o" if len(scores) == 1 else ""
        has_segment = any(segment.who == name for segment in diarization.segments)
        shown = name if len(name) <= MAX_LEGEND_NAME else f"{name[: MAX_LEGEND_NAME - 1]}…"
        label = f" {shown}" + ("" if has_segment else " (no segment)")  # a label that begins with _ would be left out
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(middles_s, scores, style, marker=alone, color=colour, linewidth=1.0, label=label)
    for score in sorted({threshold.score for threshold in diarization.thresholds}):
        axes.axhline(score, color="black", linestyle=":", linewidth=1)
    if diarization.thresholds:
        lowest, highest = (find(threshold.score for threshold in diarization.thresholds) for find in (min, max))
        label = f"threshold {lowest:.2f}" + (f" to {highest:.2f}" if highest > lowest else "")
        axes.annotate(
            label,
            (1.0, highest),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            bbox=LABEL_BOX,
        )
    axes.set_ylabel("score, smoothed")
    axes.set_xlabel("time, minutes:seconds")
    axes.xaxis.set_major_locator(MultipleLocator(choose_tick_step_s(diarization.seconds)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: format_minutes(max(seconds, 0.0))))
    axes.grid(color="0.9")
