"""The context of an evaluation: model, recordings, scoring, and which singers were used before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from singer_verify.audio.content import NO_CONTENT
from singer_verify.evaluation.results import EvaluatedUtterances
from singer_verify.evaluation.scoring.enrolment import SingerModels
from singer_verify.evaluation.scoring.scoring import ENROLMENT_SCORE_WORDS, MEAN_ENROLMENT, USER_DEFINED, Scoring
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
from singer_verify.inference.model import Model
from singer_verify.runs.provenance import format_provenance


@dataclass(frozen=True)
class EvaluationContext:
    """Names of the model, the data and the scoring of an evaluation.

    Attributes:
        model: name of the model.
        corpus: name of the corpus.
        split: name of the split.
        scoring: description of the scoring, for instance "cosine".
        trials: description of the trials, for instance "all pairs".
        calibrated_threshold: threshold of the calibration, if there is one.
        fingerprint: identifies the model.
        overlaps: number of singers that were used before, by use (see `evaluation.seen_singers`): None if the singers
            of that use are not recorded, absent if there was no such use.
        provenance: what the model is, and when and by which command it was evaluated; empty where it is not told.
    """

    model: str
    corpus: str
    split: str
    scoring: str = "cosine"
    trials: str = "all pairs"
    calibrated_threshold: float | None = None
    fingerprint: str = ""
    overlaps: Mapping[str, SingerOverlap | None] = field(default_factory=dict)
    provenance: str = ""

    @property
    def title(self) -> str:
        """Model, corpus and split."""
        return f"{self.model} on {self.corpus}, {self.split} split"


def build_evaluation_context(
    model: Model, corpus: Path, split: str, scoring: Scoring, utterances: EvaluatedUtterances, trials: str = "all pairs"
) -> EvaluationContext:
    """Build the context of an evaluation, comparing its singers with those of training and scoring.

    Args:
        model: model loaded from a file.
        corpus: root folder of the corpus.
        split: name of the split.
        scoring: scoring of the model's embeddings.
        utterances: evaluated utterances.
        trials: description of the trials.
    """
    assert model.checkpoint is not None
    metadata, calibration = model.checkpoint.metadata, scoring.calibration
    uses = {
        TRAINING: metadata.collect_training_singers(),
        MODEL_SELECTION: metadata.collect_validation_singers(),
    } | _collect_fitted_singers(scoring)
    singers = np.array(utterances.singers, object)[utterances.singer_index].tolist()
    recordings = utterances.contents.tolist() or [NO_CONTENT] * len(singers)
    return EvaluationContext(
        model=model.checkpoint.model_path.resolve().name,
        corpus=corpus.resolve().name,
        split=split,
        scoring=describe_scoring(scoring),
        trials=trials,
        calibrated_threshold=None if calibration is None else calibration.threshold(0.5),
        fingerprint=model.fingerprint,
        overlaps={
            use: None if singers_used is None else compute_singer_overlap(singers_used, singers, recordings)
            for use, singers_used in uses.items()
        },
        provenance=format_provenance(model.checkpoint),
    )


def _collect_fitted_singers(scoring: Scoring) -> dict[str, SeenSingers | None]:
    """Collect the singers that each part of a scoring was fitted to; a threshold set by the user has none."""
    parts = {}
    if scoring.threshold is not None and scoring.threshold.origin != USER_DEFINED:
        parts[THRESHOLD] = scoring.threshold_singers
    if scoring.calibration is not None:
        parts[CALIBRATION] = scoring.calibration_singers
    if not scoring.is_plain_cosine:
        parts[COHORT] = scoring.cohort_singers
    return parts


def describe_models(models: SingerModels, scoring: Scoring) -> str:
    """Describe in words the singers that are sides of trials."""
    fewest, most = int(models.num_recordings.min()), int(models.num_recordings.max())
    number = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    what = ENROLMENT_SCORE_WORDS[scoring.enrolment_score]
    return f"one side is the {what} of {number} recordings of a singer, without the recording on the other side"


def describe_scoring(scoring: Scoring) -> str:
    """Describe a scoring in words."""
    parts = ["cosine"]
    if scoring.centring is not None:
        domains = scoring.centring.domain or ", ".join(scoring.centring.means)
        parts.append(f"of embeddings centred by {scoring.centring.label} ({domains})")
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
    if scoring.enrolment_score != MEAN_ENROLMENT:
        parts.append(f"singers by the {ENROLMENT_SCORE_WORDS[scoring.enrolment_score]} of their recordings")
    if scoring.calibration is not None:
        parts.append(f"calibrated on {scoring.calibration.origin}")
    return ", ".join(parts)
