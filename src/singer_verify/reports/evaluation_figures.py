"""All figures of an evaluation."""

import numpy as np
from matplotlib.figure import Figure

from singer_verify.evaluation.judgement import JudgedUtterances, Judgement
from singer_verify.reports.det_figure import det_figure
from singer_verify.reports.embedding_map import (
    FEWEST_UTTERANCES,
    METHOD_NAMES,
    chosen_utterances,
    embedding_map,
)
from singer_verify.reports.evaluation_about import About
from singer_verify.reports.histogram_figure import histogram_figure
from singer_verify.reports.map_figure import labels_to_colour, map_figure
from singer_verify.reports.similarity_figure import alike_together, similarity_figure
from singer_verify.reports.singers_figure import singers_figure

MAP_SEED = 0
CAPTIONS = {
    "det": "Detection error trade-off by condition, on axes of normal deviates: misses at each false-alarm rate. The "
    "thin diagonal is where both are equal; lower and further left is better.",
    "scores": "Scores of trials of one singer and of two; where they overlap, every threshold makes errors.",
    "map_tsne": "Embeddings in the plane (t-SNE). Neighbours are alike; how far apart clusters lie says nothing.",
    "map_umap": "Embeddings in the plane (UMAP). Neighbours are alike; how far apart clusters lie says little.",
    "similarity": "Mean score of each pair of singers, those alike beside each other. The diagonal should be bright, "
    "all else dark.",
    "singers": "How well each singer is told from all others, and who is most like him or her.",
}


def evaluation_figures(
    judgement: Judgement, utterances: JudgedUtterances, about: About, map_methods: tuple[str, ...] = ("tsne",)
) -> dict[str, Figure]:
    """By the names that `CAPTIONS` has.

    Args:
        judgement: what was found.
        utterances: that were judged.
        about: of what.
        map_methods: of `embedding_map.METHODS`.

    Raises:
        SingerVerifyError: a method that is not installed.
    """
    figures = judgement.figures
    return {
        "det": det_figure(judgement.conditions),
        "scores": histogram_figure(
            judgement.histogram, figures["threshold"].value, about.calibrated_threshold, about.scoring
        ),
        **_maps(utterances, map_methods),
        **_of_singers(judgement, utterances.singers, about.scoring),
    }


def _of_singers(judgement: Judgement, singers: tuple[str, ...], scoring: str) -> dict[str, Figure]:
    """None of so many singers that they were not compared one by one; no rates where all have too few trials."""
    found = {}
    if (scores := judgement.singer_scores) is not None:
        order = alike_together(scores)
        names, title = tuple(singers[number] for number in order), f"Mean score of each pair of singers ({scoring})"
        found["similarity"] = similarity_figure(scores[np.ix_(order, order)], names, title, highest=None)
    if any(each.eer is not None for each in judgement.of_singers):
        found["singers"] = singers_figure(judgement.of_singers, singers, judgement.figures["eer"].value)
    return found


def _maps(utterances: JudgedUtterances, methods: tuple[str, ...]) -> dict[str, Figure]:
    """A map by each method; none of too few utterances."""
    total = len(utterances.paths)
    if total < FEWEST_UTTERANCES:
        return {}
    chosen = chosen_utterances(total, MAP_SEED)
    labels = {name: values[chosen] for name, values in labels_to_colour(utterances).items()}
    drawn = f"{len(chosen)} of {total} utterances" if len(chosen) < total else f"{total} utterances"
    found = {}
    for method in methods:
        places = embedding_map(utterances.embeddings[chosen], method, MAP_SEED)
        found[f"map_{method}"] = map_figure(places, labels, f"{METHOD_NAMES[method]} of {drawn}")
    return found
