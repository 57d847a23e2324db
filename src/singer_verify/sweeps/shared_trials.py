"""The trials that all cells of a sweep are compared on, their conditions, and the resamples of their singers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.conditions import MIN_TRIALS_PER_KIND, Conditions, UtteranceMetadata
from singer_verify.evaluation.metrics.bootstrap import (
    build_trial_matrix,
    compute_resampled_metrics,
    draw_bootstrap_weights,
)
from singer_verify.evaluation.metrics.error_rates import compute_eer
from singer_verify.evaluation.metrics.registry import Metric
from singer_verify.evaluation.metrics.trial_counts import MAX_RESAMPLED_LEVELS
from singer_verify.evaluation.trials.trial_list import Trials, build_all_pairs
from singer_verify.sweeps.split_embeddings import SplitEmbeddings


@dataclass(frozen=True)
class ConditionSize:
    """A named subset of the trials, and how many of either kind it has."""

    name: str
    num_targets: int
    num_nontargets: int

    @property
    def has_enough_trials(self) -> bool:
        return min(self.num_targets, self.num_nontargets) >= MIN_TRIALS_PER_KIND


@dataclass(frozen=True)
class SharedTrials:
    """Trials and resamples that all cells are compared on.

    Attributes:
        trials: all pairs of utterances.
        singer_index: (utterances,), the singer of each, numbered from 0.
        draws: (resamples, singers), count of each singer.
        conditions: named subsets of the trials.
        blocks: (utterances,), within which utterances are paired; None for one block.
    """

    trials: Trials
    singer_index: Int[np.ndarray, " utterances"]
    draws: Int[np.ndarray, "resamples singers"]
    conditions: dict[str, Bool[np.ndarray, " trials"]]
    blocks: Int[np.ndarray, " utterances"] | None = None

    @property
    def singers(self) -> tuple[Int[np.ndarray, " trials"], Int[np.ndarray, " trials"]]:
        """The singers of both sides of each trial."""
        return self.singer_index[self.trials.left], self.singer_index[self.trials.right]

    def compute_eer(self, scores: Sequence[np.ndarray], chosen: np.ndarray | slice = slice(None)) -> float:
        """Compute the mean equal error rate of some models on all trials, or on some of them."""
        is_target = self.trials.is_target[chosen]
        return float(np.mean([compute_eer(model_scores[chosen], is_target)[0] for model_scores in scores]))

    def resample(
        self,
        scores: Sequence[np.ndarray],
        metrics: Mapping[str, Metric],
        num_resamples: int | None = None,
        chosen: np.ndarray | slice = slice(None),
    ) -> dict[str, Float[np.ndarray, " resamples"]]:
        """Compute metrics in each resample of the singers, as means over some models.

        Args:
            scores: scores of all trials by each model.
            metrics: metrics by name.
            num_resamples: number of resamples to take; None takes all.
            chosen: the trials to take.
        """
        left, right = (singers[chosen] for singers in self.singers)
        draws = self.draws[:num_resamples]
        by_model = [
            compute_resampled_metrics(model_scores[chosen], left, right, draws, metrics, MAX_RESAMPLED_LEVELS)
            for model_scores in scores
        ]
        return {name: np.mean([resampled[name] for resampled in by_model], axis=0) for name in metrics}

    def count_condition_trials(self) -> tuple[ConditionSize, ...]:
        """Count the target and non-target trials of each condition."""
        is_target = self.trials.is_target
        return tuple(
            ConditionSize(name, int((chosen & is_target).sum()), int((chosen & ~is_target).sum()))
            for name, chosen in self.conditions.items()
        )


def build_shared_trials(
    singers: np.ndarray,
    labels: dict[str, np.ndarray],
    num_resamples: int,
    blocks: Int[np.ndarray, " utterances"] | None = None,
) -> SharedTrials:
    """Build all pairs of a split's utterances, their conditions, and the draws of the bootstrap.

    Args:
        singers: (utterances,), name of the singer of each.
        labels: values of all utterances by label, empty where unknown.
        num_resamples: number of bootstrap resamples.
        blocks: fold and corpus of each utterance, as a number; only utterances of the same are paired.

    Raises:
        SingerVerifyError: fewer than two singers, or no singer with two utterances.
    """
    names, singer_index = np.unique(singers, return_inverse=True)
    trials = build_all_pairs(singer_index, blocks)
    left, right = singer_index[trials.left], singer_index[trials.right]
    draws = draw_bootstrap_weights(build_trial_matrix(left, right, len(names)), num_resamples)
    conditions = dict(Conditions(UtteranceMetadata(labels)).iterate_masks(trials.left, trials.right))
    return SharedTrials(trials, singer_index, draws, conditions, blocks)


def require_same_trials(embeddings: dict[str, SplitEmbeddings]) -> None:
    """Check that all runs are compared on the same utterances by the same singers.

    Args:
        embeddings: embeddings by path of the run.

    Raises:
        SingerVerifyError: the utterances or singers of two runs differ; names examples.
    """
    (first, reference), *others = embeddings.items()
    expected = dict(zip(reference.paths.tolist(), reference.singers.tolist(), strict=True))
    for path, run in others:
        actual = dict(zip(run.paths.tolist(), run.singers.tolist(), strict=True))
        if actual == expected:
            continue
        missing, extra = sorted(expected.keys() - actual.keys()), sorted(actual.keys() - expected.keys())
        differing = sorted(file for file in expected.keys() & actual.keys() if expected[file] != actual[file])
        raise SingerVerifyError(
            f"{path} cannot be compared with {first}, because their trials differ: it "
            f"{_format_difference('lacks', missing)}, "
            f"{_format_difference('adds', extra)}, and "
            f"{_format_difference('has another singer for', differing)}; expected the same utterances by the same "
            f"singers; leave one of the runs out, or evaluate all on one corpus with --corpus."
        )


def _format_difference(verb: str, paths: list[str]) -> str:
    shown = f" ({', '.join(paths[:3])}{', ...' if len(paths) > 3 else ''})" if paths else ""
    return f"{verb} {len(paths)} utterances{shown}"
