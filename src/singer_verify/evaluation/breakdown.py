"""Error rates by condition: where a model fails."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from singer_verify.evaluation.conditions import conditions_of
from singer_verify.evaluation.metrics import equal_error_rate
from singer_verify.evaluation.trials import all_pairs, cosine_scores

LEAST_TRIALS = 5  # of either kind: fewer make no rate worth a number


@dataclass(frozen=True)
class ConditionFigures:
    """Figures over the trials of one condition.

    Attributes:
        condition: its name.
        eer: equal error rate; None with too few target or non-target trials.
        num_trials: pairs.
        num_targets: pairs of one singer.
    """

    condition: str
    eer: float | None
    num_trials: int
    num_targets: int


def verify_conditions(
    embeddings: Float[np.ndarray, "utterances embedding"],
    singer_index: Int[np.ndarray, " utterances"],
    labels: dict[str, np.ndarray],
) -> list[ConditionFigures]:
    """The error rate of every condition that has trials, over all pairs of utterances.

    Args:
        embeddings: rows of unit length.
        singer_index: who sings each.
        labels: for each label its value for every utterance, `""` where unknown.
    """
    trials = all_pairs(singer_index)
    scores = cosine_scores(embeddings, trials)
    figures = []
    for name, kept in conditions_of(labels, trials.left, trials.right).items():
        is_target = trials.is_target[kept]
        num_trials, num_targets = len(is_target), int(is_target.sum())
        is_enough = min(num_targets, num_trials - num_targets) >= LEAST_TRIALS
        eer = equal_error_rate(scores[kept], is_target)[0] if is_enough else None
        if num_trials:
            figures.append(ConditionFigures(name, eer, num_trials, num_targets))
    return figures
