"""What an exported model says of itself to the program that runs it."""

import json
from importlib.metadata import version

from singer_verify.evaluation.scoring import Scoring
from singer_verify.recognition.embedder import Embedder
from singer_verify.recognition.front_end import shortest_samples
from singer_verify.recognition.onnx_export import FRAMES, SAMPLES


def metadata_of(embedder: Embedder, fingerprint: str, scoring: Scoring, from_frames: bool) -> dict[str, str]:
    """Names and values of ONNX's `metadata_props`, all of them text.

    A threshold is told where it is one of cosines of embeddings, which is what the file can be used for.

    Args:
        embedder: the model.
        fingerprint: by which the model is known again, see `runs.fingerprint`.
        scoring: that belongs to the model.
        from_frames: whether the recipe is left out of the graph.
    """
    feature, normalisation = embedder.feature, embedder.normalisation
    recipe = feature.recipe | {"normalise": normalisation.name} | normalisation.statistics
    known = {
        "singer_verify": version("singer_verify"),
        "fingerprint": fingerprint,
        "input": FRAMES if from_frames else SAMPLES,
        "sample_rate": str(feature.sample_rate),
        "hop_ms": str(feature.hop_ms),
        "num_bins": str(feature.num_bins),
        "window_frames": str(embedder.window_frames),
        "recipe": json.dumps(recipe),
    }
    if not from_frames:
        known["shortest_samples"] = str(shortest_samples(feature))
    if scoring.threshold and not scoring.projection and not scoring.cohort:
        known |= {"threshold": str(scoring.threshold.score), "threshold_origin": scoring.threshold.origin}
    return known
