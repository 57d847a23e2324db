"""DET curves on normal-deviate axes: as a figure, and as coordinates for the SVG of a page."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from singer_verify.evaluation.conditions import HARD
from singer_verify.evaluation.metrics.error_rates import MAX_DET_RATE, MIN_DET_RATE, build_false_alarm_grid
from singer_verify.evaluation.results import ConditionMetrics
from singer_verify.plotting import BLACK, COLOURS, VERMILION, escape_figure_text
from singer_verify.reports.evaluation.text import format_metric_interval

AXIS_LENGTH = 520.0  # side of the square between the axes, in SVG units
DET_TICK_RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
ALL_TRIALS = "all"
EMPHASISED_COLOURS = {ALL_TRIALS: BLACK, HARD: VERMILION}
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (10, 2)), (0, (4, 1, 1, 1, 1, 1)))
OTHER_COLOURS = tuple(colour for colour in COLOURS if colour != VERMILION)
MAX_CONDITION_NAME_LENGTH = 36
DET_AXES_INCHES, LEGEND_LINE_INCHES = 5.2, 0.22  # side of the axes with labels; height of a line of the legend below
MAX_OTHER_CURVES = 4  # besides all trials and hard ones
MIN_CURVE_DISTANCE = 0.015  # mean distance of two curves, in shares of the axis; nearer ones lie on one another


@dataclass(frozen=True)
class DetTick:
    """A label of an axis and its distance from the origin."""

    label: str
    place: float


def compute_axis_position(rate: float) -> float:
    """Compute the distance of a rate from the origin of its axis; rates beyond the axis lie at its ends."""
    low, high, deviate = map(NormalDist().inv_cdf, (MIN_DET_RATE, MAX_DET_RATE, _clip_rate(rate)))
    return AXIS_LENGTH * (deviate - low) / (high - low)


def build_det_ticks() -> list[DetTick]:
    """Build the ticks of either axis."""
    return [DetTick(f"{100 * rate:g}", round(compute_axis_position(rate), 1)) for rate in DET_TICK_RATES]


def format_svg_points(false_alarms: Float[np.ndarray, " points"], miss: Float[np.ndarray, " points"]) -> str:
    """Format the points of an SVG polyline: false alarms to the right, misses upwards, corners only."""
    places = [
        (compute_axis_position(float(x)), AXIS_LENGTH - compute_axis_position(float(y)))
        for x, y in zip(false_alarms, miss, strict=True)
    ]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in _keep_corners(places))


def _keep_corners(places: list[tuple[float, float]]) -> Iterable[tuple[float, float]]:
    """Drop the inner points of horizontal segments."""
    for number, (x, y) in enumerate(places):
        is_inner = 0 < number < len(places) - 1
        if not (is_inner and places[number - 1][1] == y == places[number + 1][1]):
            yield x, y


def _clip_rate(rate: float) -> float:
    return min(max(rate, MIN_DET_RATE), MAX_DET_RATE)


def plot_det(conditions: tuple[ConditionMetrics, ...]) -> Figure:
    """Plot the curve of all trials, that of the hard ones, and those of the few conditions that differ most from these.

    Args:
        conditions: conditions with `miss` at `error_rates.build_false_alarm_grid()`.
    """
    drawn, num_left_out = choose_det_conditions(conditions)
    height = DET_AXES_INCHES + LEGEND_LINE_INCHES * (len(drawn) + 2)
    figure = Figure(figsize=(DET_AXES_INCHES, height), layout="constrained")
    axes = figure.subplots()
    _draw_det_axes(axes)
    styles = iter(zip(OTHER_COLOURS, DASHES, strict=False))
    for condition in drawn:
        assert condition.miss is not None
        if condition.condition in EMPHASISED_COLOURS:
            style: dict[str, Any] = {"color": EMPHASISED_COLOURS[condition.condition], "linewidth": 2.8, "zorder": 5}
        else:
            colour, dash = next(styles)
            style = {"color": colour, "linestyle": dash, "linewidth": 1.5, "zorder": 3}
        axes.plot(*_compute_det_line(condition.miss), label=_format_det_label(condition), **style)
    if num_left_out:
        axes.plot([], [], " ", label=f"{num_left_out} more in the table of conditions")
    if drawn:
        figure.legend(loc="outside lower center", frameon=False, title="EER [95 % interval]")
    else:
        axes.text(AXIS_LENGTH / 2, AXIS_LENGTH / 2, "too few trials for a curve", ha="center")
    return figure


def choose_det_conditions(conditions: tuple[ConditionMetrics, ...]) -> tuple[list[ConditionMetrics], int]:
    """Choose the curves to draw, all trials and hard ones first, then those that differ most from what is drawn.

    Returns:
        the chosen conditions, and how many others have a curve.
    """
    rest = [condition for condition in conditions if condition.miss is not None]
    chosen = [condition for name in EMPHASISED_COLOURS for condition in rest if condition.condition == name]
    rest = [condition for condition in rest if condition.condition not in EMPHASISED_COLOURS]
    lines = {condition.condition: _compute_deviates(condition) for condition in (*chosen, *rest)}
    for _ in range(MAX_OTHER_CURVES):
        distances = [
            min((float(np.abs(lines[one.condition] - lines[other.condition]).mean()) for other in chosen), default=1.0)
            for one in rest
        ]
        if not rest or max(distances) < MIN_CURVE_DISTANCE:
            break
        chosen.append(rest.pop(int(np.argmax(distances))))
    return chosen, len(rest)


def _compute_deviates(condition: ConditionMetrics) -> Float[np.ndarray, " points"]:
    """Compute the heights of a curve on its axis, as shares of the axis."""
    assert condition.miss is not None
    return np.array([compute_axis_position(rate) / AXIS_LENGTH for rate in condition.miss.tolist()])


def _draw_det_axes(axes: Axes) -> None:
    marks = [(mark.place, mark.label) for mark in build_det_ticks()]
    places, labels = [place for place, _ in marks], [label for _, label in marks]
    axes.set_xticks(places, labels)
    axes.set_yticks(places, labels)
    axes.set(xlim=(0, AXIS_LENGTH), ylim=(0, AXIS_LENGTH), xlabel="false alarms in %", ylabel="misses in %")
    axes.set_box_aspect(1)  # both axes have the same scale and length
    axes.plot([0, AXIS_LENGTH], [0, AXIS_LENGTH], color="0.7", linewidth=1, linestyle=":", zorder=1)
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)


def _compute_det_line(miss: Float[np.ndarray, " points"]) -> tuple[list[float], list[float]]:
    """Compute the coordinates of a curve within the axes."""
    first, last = int(np.argmax(miss <= MAX_DET_RATE)), int((miss > MIN_DET_RATE).sum())
    kept = slice(first, last + 1)
    return [compute_axis_position(x) for x in build_false_alarm_grid()[kept]], [
        compute_axis_position(y) for y in miss[kept].tolist()
    ]


def _format_det_label(condition: ConditionMetrics) -> str:
    name = escape_figure_text(condition.condition, MAX_CONDITION_NAME_LENGTH)
    if condition.eer is None:
        return name
    interval = format_metric_interval("eer", condition.eer).removesuffix(" %").replace(" to ", ", ")
    return f"{name}  {100 * condition.eer.value:.1f}" + (f" [{interval}] %" if interval else " %")
