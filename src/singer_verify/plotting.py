"""Shared parts of all figures: colours, names as text, rendering to PNG, SVG and PDF, the picture of similarities.

The colours are those of Okabe & Ito, which colour-blind readers can tell apart. Files are reproducible to the byte.
"""

import io
import logging
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

BLACK, BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = (
    "#000000",
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
)
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
UNKNOWN_GREY = "#b5b5b5"


MAX_NAME_LENGTH, MAX_TITLE_LENGTH = 28, 110
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
DPI = 200
SVG_HASH_SALT = "singer_verify"  # of the identifiers within an SVG, which would otherwise be random
# Text stays text in an SVG, and a PDF embeds TrueType fonts, which journals ask for.
RENDERING: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": SVG_HASH_SALT, "pdf.fonttype": 42}
NO_DATE: dict[str, dict[str, str | None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
ABOUT_KEY = {"svg": "Description", "pdf": "Subject"}  # of what tells what a figure shows and how it was made
MAX_AXIS_NAMES = 80  # more names cannot be read along an axis
POINTS_PER_INCH = 72
CHARACTERS_PER_INCH = 12  # of text of medium size
COLOUR_PERCENTILES = (1, 99)  # scores with the darkest and the brightest colour: a single one takes not all the range
FOOTER_POINTS, FOOTER_GREY, MAX_FOOTER_LINES = 5.5, "#666666", 6
CHARACTERS_PER_POINT = 1.75  # of the footer's font, in lines as wide as the figure


def escape_figure_text(name: str, max_length: int = MAX_NAME_LENGTH) -> str:
    """Escape a name so that matplotlib draws it verbatim; cut out the middle of a long one.

    matplotlib reads `$...$` as a formula and fails on an invalid one, omits labels that begin with an underscore, and
    writes control characters into an SVG that XML does not allow.
    """
    printable = _replace_unprintable(name)
    if len(printable) > max_length:
        half = (max_length - 1) // 2
        printable = f"{printable[: max_length - 1 - half]}…{printable[-half:]}"
    escaped = printable.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def _replace_unprintable(text: str) -> str:
    return "".join(character if character.isprintable() else REPLACEMENT for character in text)


def wrap_figure_text(text: str, width_inches: float) -> str:
    """Escape a title or a label of medium size, in as many lines as it takes to be no wider than a figure."""
    lines = textwrap.wrap(text, max(round(width_inches * CHARACTERS_PER_INCH), MAX_NAME_LENGTH))
    return "\n".join(escape_figure_text(line, MAX_TITLE_LENGTH) for line in lines)


def render_figure_files(
    figure: Figure, suffixes: tuple[str, ...] = ("png", "svg"), footer: str = ""
) -> dict[str, bytes]:
    """Render a figure as `png` and `svg`, or in other formats.

    Text stays text in the SVG: smaller, searchable, and drawn with the reader's fonts.

    Args:
        figure: the figure.
        suffixes: formats among `png`, `svg` and `pdf`.
        footer: what the figure shows and how it was made: in small letters below a PNG; in an SVG or a PDF, which a
            paper or a page takes in, only as its description or subject.

    Returns:
        the contents of the files, by suffix.
    """
    about = "\n".join(map(_replace_unprintable, footer.splitlines()))
    vectors = {suffix: _render_figure(figure, suffix, about) for suffix in suffixes if suffix != "png"}
    if footer:
        width = round(figure.get_figwidth() * POINTS_PER_INCH / FOOTER_POINTS * CHARACTERS_PER_POINT)
        lines = [line for part in footer.splitlines() for line in textwrap.wrap(part, width)]
        text = "\n".join(escape_figure_text(line, width) for line in lines[:MAX_FOOTER_LINES])
        figure.supxlabel(text, x=0.005, ha="left", fontsize=FOOTER_POINTS, color=FOOTER_GREY)
    return {suffix: vectors[suffix] if suffix in vectors else _render_figure(figure, suffix) for suffix in suffixes}


def _render_figure(figure: Figure, suffix: str, about: str = "") -> bytes:
    buffer = io.BytesIO()
    metadata = NO_DATE[suffix] | ({ABOUT_KEY[suffix]: about} if about else {})
    with warnings.catch_warnings(), rc_context(RENDERING), _silence_font_messages():
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing from font"
        )  # in the PNG only: the SVG has the character
        figure.savefig(buffer, format=suffix, dpi=DPI, metadata=metadata)
    return buffer.getvalue()


@contextmanager
def _silence_font_messages() -> Iterator[None]:
    """Leave out what is logged of each font that a PDF takes in: dozens of lines wherever INFO is shown."""
    log = logging.getLogger("fontTools")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def plot_similarity(
    matrix: Float[np.ndarray, "singers singers"],
    singers: tuple[str, ...],
    title: str = "Mean cosine of validation singers",
    highest: float | None = 1.0,
) -> Figure:
    """Plot the mean score of each pair of singers; a good encoder has a bright diagonal.

    Args:
        matrix: NaN where there is none, left white.
        singers: names along both axes.
        title: title of the figure.
        highest: score with the brightest colour; None spreads the colours over the scores of the matrix.
    """
    size = min(max(3.5, 0.45 * len(singers) + 2.0), 12.0)
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = figure.subplots()
    finite = matrix[np.isfinite(matrix)]
    lowest = min(0.0, float(finite.min(initial=0.0)))
    if highest is None and len(finite):
        lowest, highest = map(float, np.percentile(finite, COLOUR_PERCENTILES))
    image = axes.imshow(matrix, vmin=lowest, vmax=highest)
    if len(singers) <= MAX_AXIS_NAMES:
        points = min(10.0, 0.6 * POINTS_PER_INCH * size / len(singers))
        names = [escape_figure_text(name) for name in singers]
        axes.set_xticks(range(len(singers)), names, rotation=90, fontsize=points)
        axes.set_yticks(range(len(singers)), names, fontsize=points)
    else:
        axes.set(xlabel="singer", ylabel="singer", xticks=[], yticks=[])
    axes.set_title(wrap_figure_text(title, size), fontsize="medium")
    figure.colorbar(image, ax=axes, shrink=0.8, label="score")
    return figure


def order_by_similarity(matrix: Float[np.ndarray, "singers singers"]) -> Int[np.ndarray, " singers"]:
    """Order singers so that similar ones are neighbours: the leaves of average-linkage clustering."""
    if len(matrix) < 3:
        return np.arange(len(matrix))
    filled = np.where(np.isfinite(matrix), matrix, np.nanmean(matrix))
    symmetric = (filled + filled.T) / 2
    distances = symmetric.max() - symmetric
    np.fill_diagonal(distances, 0.0)
    return np.asarray(leaves_list(linkage(squareform(distances, checks=False), "average")), np.int64)
