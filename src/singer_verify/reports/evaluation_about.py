"""What a judgement is of: the model, the recordings, how they were scored."""

from dataclasses import dataclass


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
