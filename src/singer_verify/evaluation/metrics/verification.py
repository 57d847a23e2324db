"""Verification over all pairs of utterances, with all their scores in memory: validation and leaderboards.

The scores come from `AllPairsSource`, block by block as in `evaluate`, and the metrics from the same registry. On the
same embeddings in the same order, the equal error rate is therefore that of `evaluate` to the last digit; so are the
others up to `trial_counts.MAX_EXACT_LEVELS` different scores of target trials.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from singer_verify.evaluation.metrics.binned_counts import BinnedCounts
from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.evaluation.metrics.error_rates import compute_eer
from singer_verify.evaluation.metrics.registry import METRICS
from singer_verify.evaluation.scoring.scoring import COSINE
from singer_verify.evaluation.trials.blocks import AllPairsSource

THRESHOLD = "threshold"


@dataclass(frozen=True)
class VerificationResult:
    """Metrics over all pairs of utterances.

    Attributes:
        metrics: values of `registry.METRICS`, and `threshold`, the cosine at the equal error rate; no intervals.
        num_trials: number of pairs.
        num_targets: number of pairs of one singer.
    """

    metrics: dict[str, Estimate]
    num_trials: int
    num_targets: int


def verify_all_pairs(
    embeddings: Float[np.ndarray, "utterances embedding"],
    singer_index: Int[np.ndarray, " utterances"],
    corpus_index: Int[np.ndarray, " utterances"] | None = None,
) -> VerificationResult:
    """Score every pair of utterances and compute the metrics of all scores at once.

    With several corpora only pairs within a corpus are scored, so that the recording channel is never the answer; their
    scores are pooled, for one threshold that serves all.

    Raises:
        SingerVerifyError: an embedding is not finite, or there are no target or no non-target pairs.
    """
    corpora = np.zeros(len(singer_index), np.int64) if corpus_index is None else corpus_index
    scored = [_score_pairs(embeddings[corpora == corpus], singer_index[corpora == corpus]) for corpus in set(corpora)]
    scores, is_target = (np.concatenate(parts) for parts in zip(*scored, strict=True))
    _, threshold = compute_eer(scores, is_target)
    counts = BinnedCounts.from_scores(scores, is_target)
    values = {name: float(metric.compute(counts)[0]) for name, metric in METRICS.items()} | {THRESHOLD: threshold}
    metrics = {name: Estimate.without_interval(value) for name, value in values.items()}
    return VerificationResult(metrics, len(scores), int(is_target.sum()))


def _score_pairs(embeddings: np.ndarray, singer_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    source = AllPairsSource(COSINE.prepare_embeddings(embeddings), singer_index, COSINE)
    blocks = [
        block
        for singer in range(int(singer_index.max(initial=-1)) + 1)
        for is_target in (True, False)
        for block in source.iterate_blocks(singer, is_target)
    ]
    scores = [block.scores.ravel() for block in blocks] or [np.zeros(0, embeddings.dtype)]
    is_target = [np.full(block.scores.size, block.is_target) for block in blocks] or [np.zeros(0, bool)]
    return np.concatenate(scores), np.concatenate(is_target)
