"""The map of embeddings as a figure and a table: a panel for each label, a colour for each of its values."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from singer_verify.atomic_files import write_files_atomically
from singer_verify.errors import SingerVerifyError, require_at_least, require_choice
from singer_verify.evaluation.conditions import UNKNOWN
from singer_verify.evaluation.embedding_map import (
    MAP_METHOD_NAMES,
    MAP_METHODS,
    EmbeddingMap,
    require_map_method,
)
from singer_verify.evaluation.results import EvaluatedUtterances
from singer_verify.plotting import COLOURS, MAX_TITLE_LENGTH, UNKNOWN_GREY, escape_figure_text, render_figure_files

SINGER_LABEL = "singer"
PREFERRED_LABELS = ("gender", "technique", "song", "emotion", "style", "vowel", "exercise")
MAX_PANELS, MAX_PANEL_COLUMNS = 6, 3
MAX_NAMED_VALUES = 20  # a label with more values gets no legend
MARKERS = ("o", "^", "s", "D", "v", "P")
POINT_STYLES = tuple((colour, marker) for marker, colour in product(MARKERS, COLOURS))
PANEL_INCHES, LEGEND_INCHES = 4.0, 0.9
NUM_PANEL_CHARACTERS, NUM_MARKER_CHARACTERS, MAX_VALUE_NAME_LENGTH = 54, 5, 14  # in a row of a panel's legend
MIN_POINT_SIZE, MAX_POINT_SIZE = 4.0, 28.0  # in square points
MAX_VECTOR_POINTS = 1500  # more points would make an SVG too large, and are rasterised


def collect_label_values(utterances: EvaluatedUtterances) -> dict[str, np.ndarray]:
    """Collect the singer and the label values of every utterance."""
    return {SINGER_LABEL: np.array(utterances.singers, object)[utterances.singer_index], **utterances.labels}


def choose_map_labels(utterances: EvaluatedUtterances) -> dict[str, np.ndarray]:
    """Choose the labels worth a panel, singers first: at least two values, but not nearly as many as utterances."""
    values_by_label = collect_label_values(utterances)
    first = [name for name in (SINGER_LABEL, *PREFERRED_LABELS) if name in values_by_label]
    chosen = {}
    for name in [*first, *(name for name in values_by_label if name not in first)]:
        values = values_by_label[name]
        num_values = len({value for value in values if value != UNKNOWN})
        if name == SINGER_LABEL or 2 <= num_values <= max(MAX_NAMED_VALUES, len(values) // 4):
            chosen[name] = values
    return dict(list(chosen.items())[:MAX_PANELS])


def plot_embedding_map(places: Float[np.ndarray, "utterances 2"], labels: dict[str, np.ndarray], title: str) -> Figure:
    """Plot a panel per label.

    Args:
        places: positions of the utterances.
        labels: values of all utterances by panel, `""` where unknown.
        title: title of the figure.
    """
    columns = 2 if len(labels) == 4 else min(MAX_PANEL_COLUMNS, len(labels))
    rows = -(-len(labels) // columns)
    figure = Figure(figsize=(PANEL_INCHES * columns, (PANEL_INCHES + LEGEND_INCHES) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(labels) :]:
        axes.set_axis_off()
    for axes, (label, values) in zip(panels, labels.items(), strict=False):
        _draw_map_panel(axes, places, values, label)
    figure.suptitle(escape_figure_text(title, MAX_TITLE_LENGTH), fontsize="medium", wrap=True)
    return figure


def _draw_map_panel(axes: Axes, places: np.ndarray, values: np.ndarray, label: str) -> None:
    """Draw one panel; values beyond the number of styles share them."""
    names = sorted({str(value) for value in values if value != UNKNOWN})
    number_of = {value: number % len(POINT_STYLES) for number, value in enumerate(names)}
    styles = [(UNKNOWN_GREY, "."), *POINT_STYLES[: len(names)]]
    style_of = np.array([number_of.get(str(value), -1) + 1 for value in values])
    size = float(np.clip(12_000 / len(places), MIN_POINT_SIZE, MAX_POINT_SIZE))
    for number, ((colour, marker), name) in enumerate(zip(styles, ["unknown", *names], strict=False)):
        kept = places[style_of == number]
        if len(kept):
            points = axes.scatter(kept[:, 0], kept[:, 1], size, colour, marker=marker, linewidths=0, alpha=0.85)
            points.set_label(escape_figure_text(name, MAX_VALUE_NAME_LENGTH))
            points.set_rasterized(len(places) > MAX_VECTOR_POINTS)
    axes.set(xticks=[], yticks=[])
    _add_panel_legend(axes, escape_figure_text(label), names, marker_scale=float(np.sqrt(MAX_POINT_SIZE / size)))


def _add_panel_legend(axes: Axes, label: str, values: list[str], marker_scale: float) -> None:
    """Add a legend below, no wider than the panel; for very many values, only their number."""
    if len(values) > MAX_NAMED_VALUES:
        repeated = ", styles repeat" if len(values) > len(POINT_STYLES) else ""
        axes.set_title(f"{label}: {len(values)} values{repeated}")
        return
    axes.set_title(label)
    longest = min(max((len(value) for value in values), default=0), MAX_VALUE_NAME_LENGTH)
    columns = min(4, NUM_PANEL_CHARACTERS // (longest + NUM_MARKER_CHARACTERS))
    spacing = {"handletextpad": 0.2, "columnspacing": 1.0, "markerscale": marker_scale}
    below: tuple[float, float] = (0.5, -0.02)
    axes.legend(loc="upper center", bbox_to_anchor=below, ncols=columns, frameon=False, fontsize="small", **spacing)


@dataclass(frozen=True)
class CorpusMap:
    """Positions of a split's utterances, with the labels that are drawn.

    Attributes:
        paths: (utterances,), relative to the corpus root.
        places: positions of the utterances.
        labels: values of all utterances by drawn label.
        title: title of the figure.
    """

    paths: np.ndarray
    places: Float[np.ndarray, "utterances 2"]
    labels: dict[str, np.ndarray]
    title: str

    def to_frame(self) -> pd.DataFrame:
        """Return a row per utterance: its path, x, y, and its labels."""
        places = {"x": self.places[:, 0], "y": self.places[:, 1]}
        paths = pd.Series(self.paths, dtype=object)  # pyarrow takes UTF-8 only
        return pd.DataFrame({"utterance": paths, **places, **self.labels})

    def to_records(self) -> list[dict[str, Any]]:
        """Return the rows of the table as plain values."""
        return [{str(name): value for name, value in row.items()} for row in self.to_frame().to_dict("records")]


def check_map_options(out: Path, method: str, seed: int) -> None:
    """Check the options of `singer-verify map`.

    Raises:
        SingerVerifyError: a file name that does not end in .png, an unknown method or one that is not installed, a
            negative seed.
    """
    if out.suffix != ".png":
        raise SingerVerifyError(f"--out {out}: expected a file name that ends in .png.")
    require_choice(MAP_METHODS, **{"--method": method})
    require_at_least(0, **{"--seed": seed})
    require_map_method(method)


def parse_label_names(by: str, labels: Sequence[str]) -> list[str]:
    """Parse the names of labels, separated by commas.

    Raises:
        SingerVerifyError: none or too many of them, or an unknown one.
    """
    names = list(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
    if strange := [name for name in names if name not in labels]:
        raise SingerVerifyError(f"--by {strange[0]}: unknown label; the corpus has {', '.join(labels)}.")
    if not 1 <= len(names) <= MAX_PANELS:
        raise SingerVerifyError(f"--by {by}: {len(names)} labels; expected one to {MAX_PANELS}.")
    return names


def build_corpus_map(
    utterances: EvaluatedUtterances, embedding_map: EmbeddingMap, by: list[str] | None, title: str
) -> CorpusMap:
    """Join the positions of a map with the labels to colour by.

    Args:
        utterances: utterances of the split.
        embedding_map: map of their embeddings.
        by: labels, or `singer`; None chooses them.
        title: title of the split.
    """
    values_by_label = collect_label_values(utterances)
    labels = choose_map_labels(utterances) if by is None else {name: values_by_label[name] for name in by}
    chosen = embedding_map.chosen
    total = len(utterances.paths)
    count = f"{len(chosen)} of {total} utterances" if len(chosen) < total else f"{total} utterances"
    return CorpusMap(
        utterances.paths[chosen],
        embedding_map.positions,
        {name: values[chosen] for name, values in labels.items()},
        f"{title}{MAP_METHOD_NAMES[embedding_map.method]} of {count}",
    )


def plot_corpus_map(corpus_map: CorpusMap) -> Figure:
    """Plot a map with a panel per label."""
    return plot_embedding_map(corpus_map.places, corpus_map.labels, corpus_map.title)


def write_corpus_map(corpus_map: CorpusMap, out: Path, provenance: str = "") -> None:
    """Write the figure as png and svg, and the positions as csv beside it.

    Args:
        corpus_map: the map.
        out: path of the png.
        provenance: what the model is and how the map was made, for the foot of the figure.

    Raises:
        SingerVerifyError: the folder cannot be written to.
    """
    pictures = render_figure_files(plot_corpus_map(corpus_map), footer=provenance)
    table = str(corpus_map.to_frame().to_csv(index=False, lineterminator="\n")).encode("utf-8", "surrogateescape")
    write_files_atomically(
        {f"{out.stem}.{suffix}": file for suffix, file in {**pictures, "csv": table}.items()}, out.parent
    )
