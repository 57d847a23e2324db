"""The figures of an evaluation: score histogram, singers, similarity, DET curves, maps."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from singer_verify.evaluation.embedding_map import EmbeddingMap
from singer_verify.evaluation.results import EvaluatedUtterances, EvaluationResult, ScoreHistogram, SingerMetrics
from singer_verify.inference.evaluation_context import EvaluationContext
from singer_verify.plotting import (
    BLACK,
    BLUE,
    GREEN,
    VERMILION,
    escape_figure_text,
    order_by_similarity,
    plot_similarity,
    wrap_figure_text,
)
from singer_verify.reports.det_figure import plot_det
from singer_verify.reports.embedding_map import build_corpus_map, plot_corpus_map

MAX_SHOWN_SINGERS = 40
SINGER_ROW_INCHES = 0.26
FIGURE_CAPTIONS = {
    "det": "Detection error trade-off by condition, on normal-deviate axes: miss rate at each false-alarm rate. The "
    "dotted diagonal is where both are equal; lower and further left is better.",
    "scores": "Scores of target and non-target trials; where they overlap, every threshold makes errors.",
    "map_tsne": "Embeddings in the plane (t-SNE). Neighbours are similar; distances between clusters are meaningless.",
    "map_umap": "Embeddings in the plane (UMAP). Neighbours are similar; distances between clusters mean little.",
    "similarity": "Mean score of each pair of singers, similar ones side by side. The diagonal should be bright, "
    "everything else dark.",
    "singers": "EER of each singer against all others, and the most similar singer.",
    "robustness": "EER after each degradation by its strength, with 95 % intervals over singers. Dashed, with its "
    "interval: the trials of clean recordings.",
}


def plot_score_histogram(
    histogram: ScoreHistogram, threshold: float, calibrated_threshold: float | None, scoring: str
) -> Figure:
    """Plot the score densities of target and non-target trials, each of area 1, with the thresholds.

    Args:
        histogram: histogram of all scores.
        threshold: threshold of the equal error rate.
        calibrated_threshold: that of the calibration, if there is one.
        scoring: description of the scoring.
    """
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    kinds = {"non-target": histogram.nontargets, "target": histogram.targets}
    for (label, counts), colour in zip(kinds.items(), (VERMILION, BLUE), strict=True):
        density = counts / (max(int(counts.sum()), 1) * np.diff(histogram.edges))
        axes.stairs(density, histogram.edges, fill=True, color=colour, alpha=0.3)
        axes.stairs(density, histogram.edges, color=colour, linewidth=1.4, label=f"{label}, {counts.sum()} trials")
    axes.axvline(threshold, color=BLACK, linewidth=1.2, label=f"EER threshold, {threshold:.3f}")
    if calibrated_threshold is not None:
        named = f"calibrated threshold, {calibrated_threshold:.3f}"
        axes.axvline(calibrated_threshold, color=GREEN, linewidth=1.4, linestyle="--", label=named)
    axes.set(xlabel=wrap_figure_text(f"score ({scoring})", 6.0), ylabel="density", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize="small")
    return figure


def sort_worst_first(by_singer: tuple[SingerMetrics, ...], singers: tuple[str, ...]) -> list[SingerMetrics]:
    """Sort singers by falling EER, then by name; those without an EER last."""

    def place(singer: SingerMetrics) -> tuple[bool, float, str]:
        return singer.eer is None, -(singer.eer or 0.0), singers[singer.singer]

    return sorted(by_singer, key=place)


def plot_singer_eers(by_singer: tuple[SingerMetrics, ...], singers: tuple[str, ...], eer: float) -> Figure:
    """Plot the EER of each singer, the worst on top, with the most similar singer; of many singers only the worst.

    Args:
        by_singer: metrics of each singer.
        singers: names of the singers.
        eer: equal error rate of all trials, drawn as a line.
    """
    rated = [singer for singer in sort_worst_first(by_singer, singers) if singer.eer is not None]
    drawn = rated[:MAX_SHOWN_SINGERS]
    figure = Figure(figsize=(7.2, 1.5 + SINGER_ROW_INCHES * max(len(drawn), 1)), layout="constrained")
    axes = figure.subplots()
    rates = [100 * float(singer.eer or 0.0) for singer in drawn]
    axes.hlines(range(len(drawn)), 0, rates, color="0.85", linewidth=1.2, zorder=1)
    axes.plot(rates, range(len(drawn)), "o", color=BLUE, markersize=6, zorder=3)
    axes.axvline(100 * eer, color=VERMILION, linestyle="--", linewidth=1, zorder=2)
    for row, singer in enumerate(drawn):
        near = f"most like {escape_figure_text(singers[singer.nearest])}"
        axes.annotate(near, (rates[row], row), (8, 0), textcoords="offset points", va="center", color="0.4", fontsize=8)
    axes.set_yticks(range(len(drawn)), [escape_figure_text(singers[singer.singer]) for singer in drawn])
    axes.set_ylim(max(len(drawn), 1) - 0.5, -0.5)
    axes.set_xlim(0, max([100 * eer, *rates]) * 1.45 + 1.0)
    axes.set_xlabel("EER in % over all trials of the singer; dashed: all singers together")
    if title := _format_singers_title(len(drawn), len(rated), len(by_singer)):
        axes.set_title(title, fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _format_singers_title(num_drawn: int, num_rated: int, num_singers: int) -> str:
    parts = [f"the {num_drawn} worst of {num_rated}"] if num_drawn < num_rated else []
    if num_few := num_singers - num_rated:
        parts.append(f"too few trials for an EER: {num_few}")
    return "; ".join(parts)


def plot_evaluation(
    result: EvaluationResult,
    utterances: EvaluatedUtterances,
    context: EvaluationContext,
    maps: Sequence[EmbeddingMap] = (),
) -> dict[str, Figure]:
    """Plot all figures of an evaluation.

    Args:
        result: metrics, conditions, scores.
        utterances: evaluated utterances.
        context: model, corpus, scoring.
        maps: maps of the embeddings.

    Returns:
        figures, by the names in `FIGURE_CAPTIONS`.
    """
    figures = result.metrics
    return {
        "det": plot_det(result.conditions),
        "scores": plot_score_histogram(
            result.histogram, figures["threshold"].value, context.calibrated_threshold, context.scoring
        ),
        **{
            f"map_{embedding_map.method}": plot_corpus_map(build_corpus_map(utterances, embedding_map, None, ""))
            for embedding_map in maps
        },
        **_plot_singers(result, utterances.singers, context.scoring),
    }


def _plot_singers(result: EvaluationResult, singers: tuple[str, ...], scoring: str) -> dict[str, Figure]:
    """Plot similarities, unless there were too many singers to compare each pair, and EERs, if a singer has one."""
    figures = {}
    if (scores := result.singer_scores) is not None:
        order = order_by_similarity(scores)
        names, title = tuple(singers[number] for number in order), f"Mean score of each pair of singers ({scoring})"
        figures["similarity"] = plot_similarity(scores[np.ix_(order, order)], names, title, highest=None)
    if any(singer.eer is not None for singer in result.by_singer):
        figures["singers"] = plot_singer_eers(result.by_singer, singers, result.metrics["eer"].value)
    return figures
