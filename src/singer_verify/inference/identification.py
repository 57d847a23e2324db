"""Identification: which enrolled singer a recording is of, if any."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from singer_verify.evaluation.scoring.scoring import Scoring, Threshold
from singer_verify.inference.enrolment import EnrolledSingers, describe_enrolment_mismatch
from singer_verify.inference.verification import decide_score, resolve_threshold


@dataclass(frozen=True)
class Candidate:
    """An enrolled singer as the singer of a recording.

    Attributes:
        singer: name of the singer.
        num_recordings: number of enrolled recordings.
        score: score of the recording against the singer.
        threshold: scores at or above it are accepted; None where the model has none.
        is_accepted: whether the score is at or above the threshold; None without one.
        probability: posterior that the recording is of this singer, whoever else is enrolled, at the given prior; None
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
    """Enrolled singers ranked for a recording.

    Attributes:
        candidates: all enrolled singers, or the likeliest, accepted ones first, then by descending score.
        threshold: threshold of the first candidate; None where the model has none.
        is_known: whether the first candidate is accepted; None without a threshold.
        prior: prior of the probabilities; None without a calibration.
        remarks: sentences on what makes the result doubtful.
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
        """The identified singer; None for an unknown singer, or without a threshold."""
        return self.candidates[0].singer if self.is_known else None


def rank_candidates(
    scoring: Scoring,
    enrolled: EnrolledSingers,
    embedding: Float[np.ndarray, " embedding"],
    prior: float | None,
    remarks: tuple[str, ...],
    max_candidates: int | None = None,
) -> IdentificationResult:
    """Rank enrolled singers by their scores against a recording.

    Args:
        scoring: scoring of the embeddings.
        enrolled: enrolled singers, at least one.
        embedding: embedding of the recording.
        prior: probability of each singer before the recording is scored; see `verify`.
        remarks: earlier remarks, to which those of the decision are added.
        max_candidates: number of the likeliest singers to return; None returns all.

    Raises:
        SingerVerifyError: a prior without a calibration.
    """
    scores = enrolled.compute_scores(scoring, scoring.prepare_embeddings(embedding[None]))[0]
    scoring_of = {number: scoring.with_enrolment_size(number) for number in enrolled.distinct_sizes}
    chosen = np.arange(len(scores))
    if max_candidates is not None and max_candidates < len(scores):
        is_accepted = np.zeros(len(scores), bool)
        for number, fitted in scoring_of.items():
            if (limit := resolve_threshold(fitted, prior)) is not None:
                is_accepted |= enrolled.distinct_sizes[number] & (scores >= limit.score)
        chosen = _select_first(is_accepted, scores, max_candidates)
    ranked = []
    for index in chosen.tolist():
        singer, number, score = enrolled.names[index], enrolled.num_recordings[index], float(scores[index])
        verdict = decide_score(scoring_of[number], score, prior, ())
        threshold = None if verdict.threshold is None else verdict.threshold.score
        ranked.append((Candidate(singer, number, score, threshold, verdict.is_same, verdict.probability), verdict))
    ranked.sort(key=lambda pair: (not pair[0].is_accepted, -pair[0].score, pair[0].singer))
    first = ranked[0][1]
    remarks += first.remarks + describe_enrolment_mismatch(scoring, max(enrolled.distinct_sizes))
    return IdentificationResult(
        tuple(candidate for candidate, _ in ranked), first.threshold, first.is_same, first.prior, remarks
    )


def _select_first(
    is_accepted: Bool[np.ndarray, " singers"], scores: Float[np.ndarray, " singers"], number: int
) -> Int[np.ndarray, " chosen"]:
    """Select the first singers, accepted ones before others, then by descending score and name."""
    candidates = np.flatnonzero(is_accepted)
    if len(candidates) < number:
        others = np.flatnonzero(~is_accepted)
        missing = number - len(candidates)
        lowest = -np.partition(-scores[others], missing - 1)[missing - 1]
        candidates = np.concatenate([candidates, others[scores[others] >= lowest]])
    order = np.lexsort((candidates, -scores[candidates], ~is_accepted[candidates]))
    return candidates[order[:number]]
