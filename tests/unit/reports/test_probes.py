"""The figure of probes: a colour for each model, chance for each label."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.evaluation.probe_tasks import ProbeTask
from singer_verify.evaluation.probes import LabelProbes, ProbeScores
from singer_verify.inference.probing import ProbeReport
from singer_verify.plotting import COLOURS
from singer_verify.reports.probes import build_probe_notes, format_probes_latex, plot_probes

MODELS = ("first", "second_$", "third")


def build_probes(label: str, classes: tuple[str, ...], *values: float) -> LabelProbes:
    rows = np.arange(12)
    targets = rows % len(classes) if classes else rows * 1.0
    task = ProbeTask(label, rows, targets, rows % 4, rows % 4, classes)
    scores = [Estimate(value, value - 0.1, value + 0.05) for value in values]
    return LabelProbes(task, 2, tuple(ProbeScores(score, None, None, None) for score in scores))


def build_report() -> ProbeReport:
    probes = [build_probes(f"label{number}", ("a", "b"), 0.5, 0.6, 0.7) for number in range(7)]
    probes.append(build_probes("pitch", (), 0.9, -0.3, 0.1))
    return ProbeReport(MODELS, "choir, val split", 4, 12, 100, tuple(probes), num_trainings=(1, 1, 1))


def test_each_model_keeps_its_colour_and_each_label_shows_its_chance() -> None:
    figure = plot_probes(build_report())
    classes, numbers = figure.axes
    for axes, num_labels in ((classes, 7), (numbers, 1)):
        colours = [to_rgba(patch.get_facecolor()) for patch in axes.patches]
        assert colours == [to_rgba(COLOURS[number]) for number in range(len(MODELS))] * num_labels
    assert [bar.get_width() for bar in classes.patches[:3]] == pytest.approx([50.0, 60.0, 70.0])
    marks = [line for line in classes.collections if line.get_linestyle()[0][1] is not None]
    assert [mark.get_segments()[0][0][0] for mark in marks] == pytest.approx([50.0] * 7)
    assert numbers.get_xlim()[0] < -0.3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["first", r"second_\$", "third", "chance"]


def test_of_many_models_each_label_has_a_panel() -> None:
    """Named by what tells them apart; filled where they differ from the first one."""
    names = [*(f"features=mel{bins}" for bins in (10, 20, 30, 40)), "imported=speech_$"]
    song = build_probes("song", ("a", "b"), 0.5, 0.6, 0.7, 0.8, 0.9)
    scores = [replace(score, p=p) for score, p in zip(song.scores, (None, 0.5, 0.04, 0.06, 0.01), strict=True)]
    probes = (replace(song, scores=tuple(scores)), build_probes("pitch", (), 0.9, -0.3, 0.1, 0.2, 0.3))
    report = ProbeReport(tuple(names), "choir", 4, 12, 100, probes, num_trainings=(1,) * 5)
    classes, numbers = plot_probes(report).axes
    assert [label.get_text() for label in classes.get_yticklabels()] == [
        "mel10",
        "mel20",
        "mel30",
        "mel40",
        r"speech_\$",
    ]
    assert (classes.get_title(), numbers.get_title()) == ("song (2)", "pitch")
    *marks, chance = classes.get_lines()
    assert [mark.get_xdata()[0] for mark in marks] == pytest.approx([50.0, 60.0, 70.0, 80.0, 90.0])
    assert [mark.get_markerfacecolor() == "white" for mark in marks] == [True, True, False, True, False]
    assert chance.get_xdata()[0] == 50.0
    assert numbers.get_lines()[-1].get_xdata()[0] == 0.0


def test_notes_and_latex_of_a_report_without_differences() -> None:
    report = build_report()
    assert r"second\_\$" in format_probes_latex(report)
    assert any(note.startswith("Difference: the score minus that of first") for note in build_probe_notes(report))
