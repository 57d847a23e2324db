"""DET curves as coordinates of a drawing whose axes are normal deviates."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from singer_verify.evaluation.det import HIGHEST_RATE, LOWEST_RATE

SIDE = 520.0  # of the square between the axes, in the drawing's units
TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)


@dataclass(frozen=True)
class Tick:
    """A label of an axis and its distance from the corner of the lowest rates."""

    label: str
    place: float


def place(rate: float) -> float:
    """Distance of a rate from the lowest on its axis; rates beyond the axis lie at its ends."""
    low, high, deviate = map(NormalDist().inv_cdf, (LOWEST_RATE, HIGHEST_RATE, _within(rate)))
    return SIDE * (deviate - low) / (high - low)


def ticks() -> list[Tick]:
    return [Tick(f"{100 * rate:g}", round(place(rate), 1)) for rate in TICKS]


def svg_points(false_alarms: Float[np.ndarray, " points"], miss: Float[np.ndarray, " points"]) -> str:
    """Of an SVG polyline: false alarms to the right, misses upwards, corners only."""
    places = [(place(float(x)), SIDE - place(float(y))) for x, y in zip(false_alarms, miss, strict=True)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in _corners(places))


def _corners(places: list[tuple[float, float]]) -> Iterable[tuple[float, float]]:
    """Without the points in the midst of a level stretch."""
    for number, (x, y) in enumerate(places):
        is_inner = 0 < number < len(places) - 1
        if not (is_inner and places[number - 1][1] == y == places[number + 1][1]):
            yield x, y


def _within(rate: float) -> float:
    return min(max(rate, LOWEST_RATE), HIGHEST_RATE)
