"""The map of embeddings as a figure: a panel for each label, a colour for each of its values."""

from itertools import product

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from singer_verify.evaluation.conditions import UNKNOWN
from singer_verify.evaluation.judgement import JudgedUtterances
from singer_verify.reports.colours import COLOURS, UNKNOWN_GREY
from singer_verify.reports.shown_names import shown

SINGER = "singer"
FIRST_LABELS = ("gender", "technique", "song", "emotion", "style", "vowel", "exercise")
MOST_PANELS, COLUMNS = 6, 3
MOST_NAMED = 20  # values of a label: of more, no names are given
MARKERS = ("o", "^", "s", "D", "v", "P")
STYLES = tuple((colour, marker) for marker, colour in product(MARKERS, COLOURS))
PANEL_INCHES, NAMES_INCHES = 4.0, 0.2
SMALLEST_POINT, LARGEST_POINT = 4.0, 28.0  # square points
MOST_DRAWN_ONE_BY_ONE = 1500  # more points make an SVG too large, so that they become a picture in it


def values_of(utterances: JudgedUtterances) -> dict[str, np.ndarray]:
    """Of every utterance the singer, and the value of each label."""
    return {SINGER: np.array(utterances.singers, object)[utterances.singer_index], **utterances.labels}


def labels_to_colour(utterances: JudgedUtterances) -> dict[str, np.ndarray]:
    """The labels worth a panel, singers first: at least two values, and not another for nearly every utterance."""
    known = values_of(utterances)
    first = [name for name in (SINGER, *FIRST_LABELS) if name in known]
    found = {}
    for name in [*first, *(name for name in known if name not in first)]:
        values = known[name]
        num_values = len({value for value in values if value != UNKNOWN})
        if name == SINGER or 2 <= num_values <= max(MOST_NAMED, len(values) // 4):
            found[name] = values
    return dict(list(found.items())[:MOST_PANELS])


def map_figure(places: Float[np.ndarray, "utterances 2"], labels: dict[str, np.ndarray], title: str) -> Figure:
    """
    Args:
        places: of the utterances.
        labels: for each panel the value of every utterance, `""` where unknown.
        title: of the figure.
    """
    columns = 2 if len(labels) == 4 else min(COLUMNS, len(labels))
    rows = -(-len(labels) // columns)
    figure = Figure(figsize=(PANEL_INCHES * columns, (PANEL_INCHES + 0.9) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(labels) :]:
        axes.set_axis_off()
    for axes, (label, values) in zip(panels, labels.items(), strict=False):
        _draw_panel(axes, places, values, label)
    figure.suptitle(title, fontsize="medium")
    return figure


def _draw_panel(axes: Axes, places: np.ndarray, values: np.ndarray, label: str) -> None:
    known = sorted({str(value) for value in values if value != UNKNOWN})
    size = float(np.clip(12_000 / len(places), SMALLEST_POINT, LARGEST_POINT))
    is_picture = len(places) > MOST_DRAWN_ONE_BY_ONE
    if (is_unknown := values == UNKNOWN).any():
        axes.scatter(
            *places[is_unknown].T, s=0.6 * size, c=UNKNOWN_GREY, linewidths=0, label="unknown", rasterized=is_picture
        )
    style_of = {value: number % len(STYLES) for number, value in enumerate(known)}
    number_of = np.array([style_of.get(str(value), -1) for value in values])
    for number, (colour, marker) in enumerate(STYLES[: len(known)]):
        kept = number_of == number
        axes.scatter(
            *places[kept].T, s=size, c=colour, marker=marker, linewidths=0, alpha=0.85, rasterized=is_picture,
            label=shown(known[number]),
        )  # fmt: skip
    axes.set(xticks=[], yticks=[])
    _name(axes, shown(label), len(known), marker_scale=float(np.sqrt(LARGEST_POINT / size)))


def _name(axes: Axes, label: str, num_values: int, marker_scale: float) -> None:
    """A legend below; of very many values, their number alone."""
    if num_values <= MOST_NAMED:
        axes.set_title(label)
        columns = 2 if num_values > 8 else min(num_values, 4) if num_values > 1 else 1
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=columns, frameon=False, fontsize="small",
            markerscale=marker_scale, handletextpad=0.2, columnspacing=1.0,
        )  # fmt: skip
    else:
        repeated = ", styles repeat" if num_values > len(STYLES) else ""
        axes.set_title(f"{label}: {num_values} values{repeated}")
