"""What a judgement is of: the model, the recordings, how they were scored."""

from dataclasses import dataclass

from singer_verify.evaluation.scoring import Scoring


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
        chose_model: whether the best step of the model was chosen on this split.
    """

    model: str
    corpus: str
    split: str
    scoring: str = "cosine"
    trials: str = "all pairs"
    calibrated_threshold: float | None = None
    chose_model: bool = False

    @property
    def title(self) -> str:
        return f"{self.model} on {self.corpus}, {self.split} split"


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
