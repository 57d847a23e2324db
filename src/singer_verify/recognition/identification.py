"""Who of the known singers a recording is of, or none of them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from singer_verify.evaluation.scoring import Scoring, Threshold
from singer_verify.recognition.verification import threshold_at


@dataclass(frozen=True)
class Candidate:
    """A known singer beside a recording.

    Attributes:
        singer: the name.
        score: of the recording against the singer.
        probability: that the recording is this singer's, whoever else is known, at the prior that was given; None
            without a calibration.
    """

    singer: str
    score: float
    probability: float | None


@dataclass(frozen=True)
class Identification:
    """What is said of a recording.

    Attributes:
        candidates: all known singers, the highest score first.
        threshold: from which score on the first is taken for the singer; None where none is known.
        is_known: whether the first is at or above it; None without one.
        remarks: sentences on what makes it doubtful.
    """

    candidates: tuple[Candidate, ...]
    threshold: Threshold | None
    is_known: bool | None
    remarks: tuple[str, ...]

    @property
    def best(self) -> str | None:
        """The singer; None where it is not known who sings, or whether the first candidate does."""
        return self.candidates[0].singer if self.is_known else None


def identified(
    scoring: Scoring,
    singers: dict[str, Float[np.ndarray, " embedding"]],
    embedding: Float[np.ndarray, " embedding"],
    prior: float,
    remarks: tuple[str, ...],
) -> Identification:
    """Rank known singers.

    Args:
        scoring: of the embeddings.
        singers: at least one, each with an embedding of unit length.
        embedding: of the recording.
        prior: share of recordings, for each singer, that are of that singer.
        remarks: what else is to be said.
    """
    threshold = threshold_at(scoring, prior)
    scores = scoring.scores(scoring.sides(np.stack(list(singers.values()))), scoring.sides(embedding[None]))[:, 0]
    probabilities: list[float | None] = [None] * len(scores)
    if scoring.calibration is not None:
        probabilities = scoring.calibration.probability(scores, prior).tolist()
    found = [Candidate(*each) for each in zip(singers, scores.tolist(), probabilities, strict=True)]
    ranked = tuple(sorted(found, key=lambda candidate: (-candidate.score, candidate.singer)))
    is_known = None if threshold is None else ranked[0].score >= threshold.score
    return Identification(ranked, threshold, is_known, remarks)
