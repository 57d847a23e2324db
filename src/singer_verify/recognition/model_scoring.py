"""The scoring that belongs to a model: what was fitted for it, and from where its threshold is."""

from dataclasses import replace
from pathlib import Path

from singer_verify.evaluation.scoring import COSINE, Scoring, Threshold


def scoring_of(model: Path, scoring: Path | None = None, threshold: float | None = None) -> Scoring:
    """How a model's embeddings are scored and decided on.

    Args:
        model: a run folder, a `.ckpt` or a `saved_model.pt`.
        scoring: a file that `singer-verify calibrate` wrote; None takes the one in the run's folder, if there is one.
        threshold: in place of any other.
    """
    given = None if threshold is None else Threshold(threshold, "given on the command line")
    return replace(COSINE, threshold=given)
