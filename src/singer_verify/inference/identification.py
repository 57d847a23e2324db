"""Who of the known singers a recording is of, or none of them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from singer_verify.evaluation.scoring.scoring import Scoring, Threshold
from singer_verify.inference.enrolment import EnrolledSingers, describe_enrolment_mismatch
from singer_verify.inference.verification import decide_score


@dataclass(frozen=True)
class Candidate:
    """A known singer beside a recording.

    Attributes:
        singer: the name.
        num_recordings: that the singer is known from.
        score: of the recording against the singer.
        threshold: from which score on the recording is taken for this singer's; None where none is known.
        is_accepted: whether the score is at or above it; None without one.
        probability: that the recording is this singer's, whoever else is known, at the prior that was given; None
            without a calibration.
    """

    singer: str
    num_recordings: int
    score: float
    threshold: float | None
    is_accepted: bool | None
    probability: float | None


@dataclass(frozen=True)
class IdentificationResult:
    """What is said of a recording.

    Attributes:
        candidates: all known singers; those at or above their threshold first, each time the highest score first.
        threshold: that of the first; None where none is known.
        is_known: whether the first is at or above it; None without one.
        prior: that the probabilities take for granted; None without a calibration.
        remarks: sentences on what makes it doubtful.
    """

    candidates: tuple[Candidate, ...]
    threshold: Threshold | None
    is_known: bool | None
    prior: float | None
    remarks: tuple[str, ...]

    def __repr__(self) -> str:
        first = self.candidates[0]
        decision = {True: first.singer, False: "unknown singer", None: "undecided"}[self.is_known]
        return (
            f"IdentificationResult({decision}, first of {len(self.candidates)} candidates: {first.singer} with "
            f"score={first.score:.4g})"
        )

    @property
    def best(self) -> str | None:
        """The singer; None where it is not known who sings, or whether the first candidate does."""
        return self.candidates[0].singer if self.is_known else None


def rank_candidates(
    scoring: Scoring,
    known: EnrolledSingers,
    embedding: Float[np.ndarray, " embedding"],
    prior: float | None,
    remarks: tuple[str, ...],
) -> IdentificationResult:
    """Rank known singers.

    Args:
        scoring: of the embeddings.
        known: at least one singer.
        embedding: of the recording.
        prior: share of recordings, for each singer, that are of that singer; see `verify`.
        remarks: what else is to be said.

    Raises:
        SingerVerifyError: a prior, and no calibration that it would have an effect on.
    """
    scores = scoring.compute_score_matrix(scoring.prepare_embeddings(embedding[None]), known.sides)[0].tolist()
    scoring_of = {number: scoring.with_enrolment_size(number) for number in set(known.num_recordings)}
    found = []
    for singer, number, score in zip(known.names, known.num_recordings, scores, strict=True):
        verdict = decide_score(scoring_of[number], score, prior, ())
        threshold = None if verdict.threshold is None else verdict.threshold.score
        found.append((Candidate(singer, number, score, threshold, verdict.is_same, verdict.probability), verdict))
    found.sort(key=lambda each: (not each[0].is_accepted, -each[0].score, each[0].singer))
    first = found[0][1]
    remarks += first.remarks + describe_enrolment_mismatch(scoring, max(known.num_recordings))
    return IdentificationResult(
        tuple(candidate for candidate, _ in found), first.threshold, first.is_same, first.prior, remarks
    )
