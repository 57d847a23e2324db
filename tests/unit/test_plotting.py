"""Figures are rendered to files, and say nothing."""

import io
import logging

import numpy as np
import pytest
from matplotlib.figure import Figure

from singer_verify.plotting import plot_similarity, render_figure_files


def test_the_fonts_of_a_pdf_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A program that shows INFO would have dozens of lines between its results."""
    figure = Figure()
    figure.text(0.5, 0.5, "EER 5 %")
    level = logging.getLogger("fontTools").level
    with caplog.at_level(logging.INFO):
        files = render_figure_files(figure, ("png", "pdf"))
    assert files["pdf"].startswith(b"%PDF")
    assert not [record for record in caplog.records if record.name.startswith("fontTools")]
    assert logging.getLogger("fontTools").level == level


def test_a_long_title_is_not_cut_off() -> None:
    title = "Mean score of each pair of singers (cosine after projection to 12 dimensions, calibrated on 6 singers)"
    figure = plot_similarity(np.eye(4), ("a", "b", "c", "d"), title, highest=None)
    figure.savefig(io.BytesIO(), format="png")  # which lays it out
    extent = figure.axes[0].title.get_window_extent()
    assert 0 <= extent.x0 < extent.x1 <= figure.bbox.width
    assert figure.axes[0].get_title().replace("\n", " ") == title


def test_colours_are_spread_over_the_scores() -> None:
    scores = 0.9 + 0.01 * np.arange(16.0).reshape(4, 4) / 16
    (image,) = plot_similarity(scores, ("a", "b", "c", "d"), highest=None).axes[0].get_images()
    low, high = image.get_clim()
    assert 0.89 < low < high < 0.92
