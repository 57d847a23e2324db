"""The map of embeddings as a figure: a panel for each label, a colour for each of its values."""

from itertools import product

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from singer_verify.evaluation.conditions import UNKNOWN
from singer_verify.evaluation.judgement import JudgedUtterances
from singer_verify.reports.colours import COLOURS, UNKNOWN_GREY
from singer_verify.reports.shown_names import LONGEST_TITLE, shown

SINGER = "singer"
FIRST_LABELS = ("gender", "technique", "song", "emotion", "style", "vowel", "exercise")
MOST_PANELS, COLUMNS = 6, 3
MOST_NAMED = 20  # values of a label: of more, no names are given
MARKERS = ("o", "^", "s", "D", "v", "P")
STYLES = tuple((colour, marker) for marker, colour in product(MARKERS, COLOURS))
PANEL_INCHES, NAMES_INCHES = 4.0, 0.9
PANEL_LETTERS, MARKER_LETTERS, LONGEST_NAME = 54, 5, 14  # that fit side by side in a panel's legend
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
    figure = Figure(figsize=(PANEL_INCHES * columns, (PANEL_INCHES + NAMES_INCHES) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(labels) :]:
        axes.set_axis_off()
    for axes, (label, values) in zip(panels, labels.items(), strict=False):
        _draw_panel(axes, places, values, label)
    figure.suptitle(shown(title, LONGEST_TITLE), fontsize="medium", wrap=True)
    return figure


def _draw_panel(axes: Axes, places: np.ndarray, values: np.ndarray, label: str) -> None:
    """Values beyond the styles there are share them."""
    known = sorted({str(value) for value in values if value != UNKNOWN})
    number_of = {value: number % len(STYLES) for number, value in enumerate(known)}
    styles = [(UNKNOWN_GREY, "."), *STYLES[: len(known)]]
    style_of = np.array([number_of.get(str(value), -1) + 1 for value in values])
    size = float(np.clip(12_000 / len(places), SMALLEST_POINT, LARGEST_POINT))
    for number, ((colour, marker), name) in enumerate(zip(styles, ["unknown", *known], strict=False)):
        kept = places[style_of == number]
        if len(kept):
            points = axes.scatter(kept[:, 0], kept[:, 1], size, colour, marker=marker, linewidths=0, alpha=0.85)
            points.set_label(shown(name, LONGEST_NAME))
            points.set_rasterized(len(places) > MOST_DRAWN_ONE_BY_ONE)
    axes.set(xticks=[], yticks=[])
    _name(axes, shown(label), known, marker_scale=float(np.sqrt(LARGEST_POINT / size)))


def _name(axes: Axes, label: str, values: list[str], marker_scale: float) -> None:
    """A legend below, no wider than the panel; of very many values, their number alone."""
    if len(values) > MOST_NAMED:
        repeated = ", styles repeat" if len(values) > len(STYLES) else ""
        axes.set_title(f"{label}: {len(values)} values{repeated}")
        return
    axes.set_title(label)
    longest = min(max((len(value) for value in values), default=0), LONGEST_NAME)
    columns = min(4, PANEL_LETTERS // (longest + MARKER_LETTERS))
    spacing = {"handletextpad": 0.2, "columnspacing": 1.0, "markerscale": marker_scale}
    below: tuple[float, float] = (0.5, -0.02)
    axes.legend(loc="upper center", bbox_to_anchor=below, ncols=columns, frameon=False, fontsize="small", **spacing)
