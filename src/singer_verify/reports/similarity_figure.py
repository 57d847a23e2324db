"""The similarity of singers to each other as a matrix of colours."""

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from singer_verify.reports.shown_names import LONGEST_TITLE, shown

MOST_NAMES = 80  # more names than that cannot be read along an axis
POINTS_PER_INCH = 72


def similarity_figure(
    matrix: Float[np.ndarray, "singers singers"],
    singers: tuple[str, ...],
    title: str = "Mean cosine of validation singers",
    highest: float | None = 1.0,
) -> Figure:
    """Mean score of each pair of singers; a good encoder has a bright diagonal.

    Args:
        matrix: NaN where there is none, left white.
        singers: names along both axes.
        title: of the figure.
        highest: score with the brightest colour; None takes that of the matrix.
    """
    size = min(max(3.5, 0.45 * len(singers) + 2.0), 12.0)
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = figure.subplots()
    known = matrix[np.isfinite(matrix)]
    lowest = min(0.0, float(known.min(initial=0.0)))
    image = axes.imshow(matrix, vmin=lowest, vmax=float(known.max(initial=lowest)) if highest is None else highest)
    if len(singers) <= MOST_NAMES:
        points = min(10.0, 0.6 * POINTS_PER_INCH * size / len(singers))
        names = [shown(name) for name in singers]
        axes.set_xticks(range(len(singers)), names, rotation=90, fontsize=points)
        axes.set_yticks(range(len(singers)), names, fontsize=points)
    else:
        axes.set(xlabel="singer", ylabel="singer", xticks=[], yticks=[])
    axes.set_title(shown(title, LONGEST_TITLE))
    figure.colorbar(image, ax=axes, shrink=0.8)
    return figure


def alike_together(matrix: Float[np.ndarray, "singers singers"]) -> Int[np.ndarray, " singers"]:
    """An order in which singers stand beside those most like them: the leaves of average-linkage clustering."""
    if len(matrix) < 3:
        return np.arange(len(matrix))
    filled = np.where(np.isfinite(matrix), matrix, np.nanmean(matrix))
    symmetric = (filled + filled.T) / 2
    distances = symmetric.max() - symmetric
    np.fill_diagonal(distances, 0.0)
    return np.asarray(leaves_list(linkage(squareform(distances, checks=False), "average")), np.int64)
