"""What a judgement is of: the model, the recordings, how they were scored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from singer_verify.card import CARD_KEY
from singer_verify.corpora.identities import identities
from singer_verify.evaluation.judgement import JudgedUtterances
from singer_verify.evaluation.overlap import (
    CALIBRATION,
    CHOOSING,
    COHORT,
    THRESHOLD,
    TRAINING,
    MetSingers,
    Overlap,
    overlap,
)
from singer_verify.evaluation.scoring import GIVEN, Scoring
from singer_verify.runs.checkpoints import checkpoint_of, read_checkpoint
from singer_verify.runs.fingerprint import fingerprint
from singer_verify.runs.heard import training_singers, validation_singers


@dataclass(frozen=True)
class About:
    """
    Attributes:
        model: its name.
        corpus: its name.
        split: of the corpus.
        scoring: from embeddings to scores, in words: "cosine".
        trials: where they come from, in words: "all pairs".
        calibrated_threshold: of scores, where a calibration gives one.
        fingerprint: by which the model is known again.
        met: how many of the singers were met before, by occasion (see `evaluation.overlap`): None where it is not
            recorded who was met there; absent, where there was no such occasion.
    """

    model: str
    corpus: str
    split: str
    scoring: str = "cosine"
    trials: str = "all pairs"
    calibrated_threshold: float | None = None
    fingerprint: str = ""
    met: Mapping[str, Overlap | None] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.model} on {self.corpus}, {self.split} split"


def about_evaluation(
    model: Path, corpus: Path, split: str, scoring: Scoring, utterances: JudgedUtterances, trials: str = "all pairs"
) -> About:
    """
    Args:
        model: a run folder or a checkpoint.
        corpus: its root.
        split: of the corpus.
        scoring: of the model's embeddings.
        utterances: that are judged.
        trials: where they come from, in words.

    Raises:
        SingerVerifyError: not a model of ours.
    """
    checkpoint = read_checkpoint(checkpoint_of(model))
    card, calibration = checkpoint[CARD_KEY], scoring.calibration
    occasions = {TRAINING: training_singers(card), CHOOSING: validation_singers(card)} | _fitted_to(scoring)
    singers = np.array(utterances.singers, object)[utterances.singer_index].tolist()
    recordings = identities(corpus / str(path) for path in utterances.paths)
    return About(
        model=model.resolve().name,
        corpus=corpus.resolve().name,
        split=split,
        scoring=scoring_in_words(scoring),
        trials=trials,
        calibrated_threshold=None if calibration is None else calibration.threshold(0.5),
        fingerprint=fingerprint(checkpoint),
        met={
            occasion: None if known is None else overlap(known, singers, recordings)
            for occasion, known in occasions.items()
        },
    )


def _fitted_to(scoring: Scoring) -> dict[str, MetSingers | None]:
    """Of each part that there is; a threshold that was given is nobody's."""
    parts = {}
    if scoring.threshold is not None and scoring.threshold.origin != GIVEN:
        parts[THRESHOLD] = scoring.threshold_singers
    if scoring.calibration is not None:
        parts[CALIBRATION] = scoring.calibration_singers
    if scoring.projection is not None or scoring.cohort is not None:
        parts[COHORT] = scoring.cohort_singers
    return parts


def scoring_in_words(scoring: Scoring) -> str:
    """From embeddings to scores, in words."""
    parts = ["cosine"]
    if scoring.projection is not None:
        parts.append(f"of embeddings projected to {scoring.projection.matrix.shape[1]} dimensions")
    if scoring.cohort is not None:
        nearest = scoring.cohort.num_nearest
        among = f"the {nearest} nearest of {len(scoring.cohort.rows)}" if nearest else f"{len(scoring.cohort.rows)}"
        parts.append(f"normalised against {among} embeddings of other singers")
    if scoring.calibration is not None:
        parts.append(f"calibrated on {scoring.calibration.origin}")
    return ", ".join(parts)
