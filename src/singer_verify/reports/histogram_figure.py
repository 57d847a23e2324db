"""Scores of target and of non-target trials as a figure, with the thresholds."""

import numpy as np
from matplotlib.figure import Figure

from singer_verify.evaluation.judgement import ScoreHistogram
from singer_verify.reports.colours import BLACK, BLUE, GREEN, VERMILION
from singer_verify.reports.shown_names import LONGEST_TITLE, shown


def histogram_figure(
    histogram: ScoreHistogram, threshold: float, calibrated_threshold: float | None, scoring: str
) -> Figure:
    """Both kinds as densities, each of area 1, for there are many more non-target trials.

    Args:
        histogram: of all scores.
        threshold: of the equal error rate.
        calibrated_threshold: that a calibration sets, if there is one.
        scoring: in words.
    """
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    kinds = {"two singers (non-target)": histogram.nontargets, "one singer (target)": histogram.targets}
    for (label, counts), colour in zip(kinds.items(), (VERMILION, BLUE), strict=True):
        density = counts / (max(int(counts.sum()), 1) * np.diff(histogram.edges))
        axes.stairs(density, histogram.edges, fill=True, color=colour, alpha=0.3)
        axes.stairs(density, histogram.edges, color=colour, linewidth=1.4, label=f"{label}, {counts.sum()} trials")
    axes.axvline(threshold, color=BLACK, linewidth=1.2, label=f"threshold of the EER, {threshold:.3f}")
    if calibrated_threshold is not None:
        named = f"threshold of the calibration, {calibrated_threshold:.3f}"
        axes.axvline(calibrated_threshold, color=GREEN, linewidth=1.4, linestyle="--", label=named)
    axes.set(xlabel=shown(f"score ({scoring})", LONGEST_TITLE), ylabel="density", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize="small")
    return figure
