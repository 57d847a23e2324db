"""What a judgement is of: the model, the recordings, how they were scored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from singer_verify.corpora.duplicates import compute_recording_ids
from singer_verify.evaluation.results import EvaluatedUtterances
from singer_verify.evaluation.scoring.scoring import USER_DEFINED, Scoring
from singer_verify.evaluation.seen_singers import (
    CALIBRATION,
    COHORT,
    MODEL_SELECTION,
    THRESHOLD,
    TRAINING,
    SeenSingers,
    SingerOverlap,
    compute_singer_overlap,
)
from singer_verify.inference import Model


@dataclass(frozen=True)
class EvaluationContext:
    """
    Attributes:
        model: its name.
        corpus: its name.
        split: of the corpus.
        scoring: from embeddings to scores, in words: "cosine".
        trials: where they come from, in words: "all pairs".
        calibrated_threshold: of scores, where a calibration gives one.
        fingerprint: by which the model is known again.
        overlaps: how many of the singers were met before, by occasion (see `evaluation.overlap`): None where it is not
            recorded who was met there; absent, where there was no such occasion.
    """

    model: str
    corpus: str
    split: str
    scoring: str = "cosine"
    trials: str = "all pairs"
    calibrated_threshold: float | None = None
    fingerprint: str = ""
    overlaps: Mapping[str, SingerOverlap | None] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.model} on {self.corpus}, {self.split} split"


def build_evaluation_context(
    model: Model, corpus: Path, split: str, scoring: Scoring, utterances: EvaluatedUtterances, trials: str = "all pairs"
) -> EvaluationContext:
    """
    Args:
        model: loaded from a file.
        corpus: its root.
        split: of the corpus.
        scoring: of the model's embeddings.
        utterances: that are judged.
        trials: where they come from, in words.
    """
    assert model.checkpoint is not None
    metadata, calibration = model.checkpoint.metadata, scoring.calibration
    occasions = {
        TRAINING: metadata.collect_training_singers(),
        MODEL_SELECTION: metadata.collect_validation_singers(),
    } | _collect_fitted_singers(scoring)
    singers = np.array(utterances.singers, object)[utterances.singer_index].tolist()
    recordings = compute_recording_ids(corpus / str(path) for path in utterances.paths)
    return EvaluationContext(
        model=model.checkpoint.model_path.resolve().name,
        corpus=corpus.resolve().name,
        split=split,
        scoring=describe_scoring(scoring),
        trials=trials,
        calibrated_threshold=None if calibration is None else calibration.threshold(0.5),
        fingerprint=model.fingerprint,
        overlaps={
            occasion: None if known is None else compute_singer_overlap(known, singers, recordings)
            for occasion, known in occasions.items()
        },
    )


def _collect_fitted_singers(scoring: Scoring) -> dict[str, SeenSingers | None]:
    """Of each part that there is; a threshold that was given is nobody's."""
    parts = {}
    if scoring.threshold is not None and scoring.threshold.origin != USER_DEFINED:
        parts[THRESHOLD] = scoring.threshold_singers
    if scoring.calibration is not None:
        parts[CALIBRATION] = scoring.calibration_singers
    if scoring.projection is not None or scoring.cohort is not None:
        parts[COHORT] = scoring.cohort_singers
    return parts


def describe_scoring(scoring: Scoring) -> str:
    """From embeddings to scores, in words."""
    parts = ["cosine"]
    if scoring.projection is not None:
        parts.append(f"of embeddings projected to {scoring.projection.matrix.shape[1]} dimensions")
    if scoring.cohort is not None:
        nearest = scoring.cohort.num_nearest
        among = (
            f"the {nearest} nearest of {len(scoring.cohort.embeddings)}"
            if nearest
            else f"{len(scoring.cohort.embeddings)}"
        )
        parts.append(f"normalised against {among} embeddings of other singers")
    if scoring.calibration is not None:
        parts.append(f"calibrated on {scoring.calibration.origin}")
    return ", ".join(parts)
