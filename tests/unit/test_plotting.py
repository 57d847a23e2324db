"""Figures are rendered to files, and say nothing."""

import logging

import pytest
from matplotlib.figure import Figure

from singer_verify.plotting import render_figure_files


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
