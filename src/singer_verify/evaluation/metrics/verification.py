"""How well embeddings verify singers: the figures that training, evaluation and reports share."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from singer_verify.evaluation.metrics.error_rates import compute_eer, compute_min_dcf
from singer_verify.evaluation.trials.trial_list import build_all_pairs, compute_cosine_scores


@dataclass(frozen=True)
class VerificationMetrics:
    """Figures over all pairs of utterances.

    Attributes:
        eer: equal error rate.
        threshold: cosine at which it is reached.
        min_dcf_01: minimum detection cost at a target prior of 0.01.
        min_dcf_05: the same at 0.05.
        num_trials: pairs.
        num_targets: pairs of one singer.
    """

    eer: float
    threshold: float
    min_dcf_01: float
    min_dcf_05: float
    num_trials: int
    num_targets: int


def verify_all_pairs(
    embeddings: Float[np.ndarray, "utterances embedding"],
    singer_index: Int[np.ndarray, " utterances"],
    corpus_index: Int[np.ndarray, " utterances"] | None = None,
) -> VerificationMetrics:
    """Score every pair of utterances and take the error rates of all scores at once.

    Of several corpora, pairs within a corpus only, so that the recording channel is never the answer; their scores are
    pooled, for one threshold that serves all.

    Raises:
        SingerVerifyError: an embedding is not finite, or there are no target or no non-target pairs.
    """
    trials = build_all_pairs(singer_index, corpus_index)
    scores = compute_cosine_scores(embeddings, trials)
    eer, threshold = compute_eer(scores, trials.is_target)
    return VerificationMetrics(
        eer,
        threshold,
        compute_min_dcf(scores, trials.is_target, p_target=0.01),
        compute_min_dcf(scores, trials.is_target, p_target=0.05),
        len(scores),
        int(trials.is_target.sum()),
    )
