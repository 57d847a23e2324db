"""Who sings when, as a figure: a bar for each stretch above, the scores below."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from singer_verify.recognition.enrolled import UNKNOWN
from singer_verify.recognition.timeline import Timeline
from singer_verify.recognition.times import minutes
from singer_verify.reports.colours import COLOURS, UNKNOWN_GREY

MOST_SINGERS = 10  # drawn: those who are heard longest, then those who score highest
WIDTH_INCHES, ROW_INCHES, SCORES_INCHES = 9.0, 0.3, 2.4
LINE_STYLES = ("-", "--")  # the second where colours begin again
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
TICK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)
MOST_TICKS = 10


def timeline_figure(found: Timeline, title: str) -> Figure:
    """Bars of singers over time, `unknown` in grey, silence left blank; the smoothed scores with the thresholds.

    Args:
        found: who sings when.
        title: of the figure.
    """
    singers = drawn_singers(found)
    bars_inches = ROW_INCHES * (len(singers) + 1) + 0.4
    figure = Figure(figsize=(WIDTH_INCHES, bars_inches + SCORES_INCHES + 0.6), layout="constrained")
    bars, scores = figure.subplots(2, 1, sharex=True, height_ratios=(bars_inches, SCORES_INCHES))
    _draw_bars(bars, found, singers)
    _draw_scores(scores, found, singers)
    bars.set_title(title, fontsize="medium", parse_math=False)
    for axes in (bars, scores):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def drawn_singers(found: Timeline) -> list[str]:
    """Names in alphabetical order."""
    heard_s = dict.fromkeys(found.singers, 0.0)
    for each in found.segments:
        if each.who in heard_s:
            heard_s[each.who] += each.end_s - each.start_s
    highest = dict(zip(found.singers, found.smoothed.max(axis=0).tolist(), strict=True))
    ranked = sorted(found.singers, key=lambda name: (-heard_s[name], -highest[name]))
    return sorted(ranked[:MOST_SINGERS])


def tick_step_s(seconds: float) -> int:
    """From tick to tick: seconds or minutes that are easily counted; whole hours where a recording lasts many."""
    fitting = (step for step in TICK_STEPS_S if seconds / step <= MOST_TICKS)
    return next(fitting, 3600 * -int(-seconds // (3600 * MOST_TICKS)))


def _draw_bars(axes: Axes, found: Timeline, singers: list[str]) -> None:
    rows = [*singers, UNKNOWN]
    for row, name in enumerate(rows):
        spans = [(each.start_s, each.end_s - each.start_s) for each in found.segments if each.who == name]
        colour = UNKNOWN_GREY if name == UNKNOWN else COLOURS[row % len(COLOURS)]
        axes.broken_barh(spans, (row - 0.35, 0.7), facecolors=colour)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0.0, found.seconds)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)


def _draw_scores(axes: Axes, found: Timeline, singers: list[str]) -> None:
    middles_s = (found.starts_s + found.ends_s) / 2
    for number, name in enumerate(singers):
        scores = np.where(found.is_silent, np.nan, found.smoothed[:, found.singers.index(name)])
        style = LINE_STYLES[number // len(COLOURS) % len(LINE_STYLES)]
        alone = "o" if len(scores) == 1 else ""
        axes.plot(middles_s, scores, style, marker=alone, color=COLOURS[number % len(COLOURS)], linewidth=1.0)
    for threshold in sorted({each.score for each in found.thresholds}):
        axes.axhline(threshold, color="black", linestyle=":", linewidth=1)
    if found.thresholds:
        lowest, highest = (find(each.score for each in found.thresholds) for find in (min, max))
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
    axes.xaxis.set_major_locator(MultipleLocator(tick_step_s(found.seconds)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: minutes(max(seconds, 0.0))))
    axes.grid(color="0.9")
