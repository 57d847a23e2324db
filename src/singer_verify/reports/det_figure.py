"""Detection error trade-off by condition as a figure, on axes of normal deviates."""

from itertools import cycle
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from singer_verify.evaluation.conditions import HARD
from singer_verify.evaluation.det import HIGHEST_RATE, LOWEST_RATE, false_alarm_grid
from singer_verify.evaluation.judgement import ConditionFigures
from singer_verify.reports.colours import BLACK, COLOURS, UNKNOWN_GREY, VERMILION
from singer_verify.reports.det_drawing import SIDE, place, ticks
from singer_verify.reports.evaluation_words import interval_text
from singer_verify.reports.shown_names import shown

EVERYTHING = "all"
EMPHASISED = {EVERYTHING: BLACK, HARD: VERMILION}
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (10, 2)), (0, (4, 1, 1, 1, 1, 1)))
OTHER_COLOURS = tuple(colour for colour in COLOURS if colour != VERMILION)
LONGEST_NAME = 36
SQUARE_INCHES, CHARACTER_INCHES = 7.4, 0.065  # widths of the axes with their labels, and of a letter of the legend
MOST_NAMED = len(OTHER_COLOURS) * len(DASHES)  # more lines than that cannot be told apart


def det_figure(conditions: tuple[ConditionFigures, ...]) -> Figure:
    """A line per condition that has a curve; `all` and `hard` stand out.

    Args:
        conditions: with `miss` at `det.false_alarm_grid()`.
    """
    drawn = sorted(
        (each for each in conditions if each.miss is not None),
        key=lambda each: [EVERYTHING, HARD].index(each.condition) if each.condition in EMPHASISED else 2,
    )
    longest = max((len(_label(each)) for each in drawn), default=0)
    figure = Figure(figsize=(SQUARE_INCHES + CHARACTER_INCHES * longest, 6.0), layout="constrained")
    axes = figure.subplots()
    _draw_axes(axes)
    styles = cycle([(colour, dash) for dash in DASHES for colour in OTHER_COLOURS])
    num_others = 0
    for each in drawn:
        assert each.miss is not None
        if each.condition in EMPHASISED:
            style: dict[str, Any] = {"color": EMPHASISED[each.condition], "linewidth": 2.8, "zorder": 5}
        elif (num_others := num_others + 1) <= MOST_NAMED:
            colour, dash = next(styles)
            style = {"color": colour, "linestyle": dash, "linewidth": 1.3, "zorder": 3}
        else:
            style = {"color": UNKNOWN_GREY, "linewidth": 0.8, "zorder": 2}
        axes.plot(*_line(each.miss), label=_label(each) if num_others <= MOST_NAMED else "_", **style)
    if drawn:
        figure.legend(loc="outside right upper", frameon=False, fontsize="small", title="EER [95 % interval]")
    else:
        axes.text(SIDE / 2, SIDE / 2, "too few trials for a curve", ha="center")
    return figure


def _draw_axes(axes: Axes) -> None:
    marks = [(mark.place, mark.label) for mark in ticks()]
    places, labels = [place for place, _ in marks], [label for _, label in marks]
    axes.set_xticks(places, labels)
    axes.set_yticks(places, labels)
    axes.set(xlim=(0, SIDE), ylim=(0, SIDE), xlabel="false alarms in %", ylabel="misses in %")
    axes.set_box_aspect(1)  # of equal scales, for both axes have the same length
    axes.plot([0, SIDE], [0, SIDE], color="0.7", linewidth=1, linestyle=":", zorder=1)
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)


def _line(miss: Float[np.ndarray, " points"]) -> tuple[list[float], list[float]]:
    """Places on both axes, from the highest rate of an axis to where the lowest is reached."""
    first, last = int(np.argmax(miss <= HIGHEST_RATE)), int((miss > LOWEST_RATE).sum())
    kept = slice(first, last + 1)
    return [place(x) for x in false_alarm_grid()[kept]], [place(y) for y in miss[kept].tolist()]


def _label(condition: ConditionFigures) -> str:
    name = shown(condition.condition, LONGEST_NAME)
    if condition.eer is None:
        return name
    interval = interval_text("eer", condition.eer).removesuffix(" %").replace(" to ", ", ")
    return f"{name}  {100 * condition.eer.value:.1f}" + (f" [{interval}] %" if interval else " %")
