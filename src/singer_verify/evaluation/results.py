"""What is found of a model on a set of utterances: everything a report shows, as plain numbers and names."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.evaluation.metrics.registry import EER


@dataclass(frozen=True)
class EvaluatedUtterances:
    """The recordings that were judged.

    Attributes:
        paths: (utterances,), relative to the corpus root.
        singers: sorted names.
        singer_index: (utterances,), place of each one's singer in `singers`.
        labels: for each label (gender, song, technique, ...) its value for every utterance, `""` where unknown.
        embeddings: (utterances, embedding), rows of unit length, as the model makes them.
    """

    paths: np.ndarray
    singers: tuple[str, ...]
    singer_index: Int[np.ndarray, " utterances"]
    labels: dict[str, np.ndarray]
    embeddings: Float[np.ndarray, "utterances embedding"]


@dataclass(frozen=True)
class ConditionMetrics:
    """Metrics over the trials of one condition.

    Attributes:
        condition: its name; "all" for all trials.
        num_targets: number of trials of one singer.
        num_nontargets: number of trials of two singers.
        metrics: those of `metrics.registry.METRICS` by name, each with its 95 % interval; empty with fewer than
            `conditions.MIN_TRIALS_PER_KIND` trials of either kind.
        miss: (points,), miss rates at `error_rates.build_false_alarm_grid()`; None with too few trials.
    """

    condition: str
    num_targets: int
    num_nontargets: int
    metrics: dict[str, Estimate]
    miss: Float[np.ndarray, " points"] | None

    @property
    def eer(self) -> Estimate | None:
        """The equal error rate; None with too few trials."""
        return self.metrics.get(EER)


@dataclass(frozen=True)
class ScoreHistogram:
    """How many trials have which score.

    Attributes:
        edges: (bins + 1,), of scores, rising, equally far apart.
        targets: (bins,), trials of one singer.
        nontargets: (bins,), trials of two.
    """

    edges: Float[np.ndarray, " edges"]
    targets: Int[np.ndarray, " bins"]
    nontargets: Int[np.ndarray, " bins"]


@dataclass(frozen=True)
class ScoredTrial:
    """A trial to listen to: the numbers of its two utterances, and its score."""

    left: int
    right: int
    score: float
    is_target: bool


@dataclass(frozen=True)
class ConfusedSingers:
    """Two singers that the model takes for one too often.

    A figure of two singers has no interval over singers: there are no others like them to draw.

    Attributes:
        left: number of one singer in `EvaluatedUtterances.singers`.
        right: of the other.
        false_alarm: share of their trials at or above the threshold of the equal error rate.
        mean_score: of their trials.
        num_trials: between them.
        trials: a few of them, the highest scores first.
    """

    left: int
    right: int
    false_alarm: float
    mean_score: float
    num_trials: int
    trials: tuple[ScoredTrial, ...]


@dataclass(frozen=True)
class SingerMetrics:
    """How well one singer is told from all others.

    A figure of one singer has no interval over singers: there is no other like this one to draw.

    Attributes:
        singer: number in `EvaluatedUtterances.singers`.
        num_targets: trials of this singer alone.
        num_nontargets: trials with another singer.
        eer: equal error rate over both; None with too few.
        nearest: number of the singer with the highest mean score against this one.
    """

    singer: int
    num_targets: int
    num_nontargets: int
    eer: float | None
    nearest: int


@dataclass(frozen=True)
class EvaluationResult:
    """Everything found.

    Attributes:
        metrics: by name, each with its 95 % interval over singers: those of `metrics.registry.METRICS`; threshold,
            top_1, top_5, mean_normalised_rank; where a threshold was known before, miss_at_threshold,
            false_alarm_at_threshold and actual_dcf_<prior>; where a calibration was, cllr, and actual_dcf_<prior> at
            the thresholds that follow from it. What cannot be told is absent.
        conditions: "all" first, then those of the labels.
        histogram: of all scores.
        singer_scores: (singers, singers), mean score of each pair; NaN where they have no trial; None of more than
            `confusions.MAX_PAIRWISE_SINGERS` singers, who are not compared one by one: the next two are empty then.
        by_singer: one for each singer, in their order; of more than `evaluate.MAX_BOOTSTRAP_UNITS` empty.
        confused: the ten pairs of singers most often taken for one, worst first.
        worst_misses: trials of one singer with the lowest scores.
        worst_false_alarms: trials of two singers with the highest scores.
        num_resamples: of the bootstrap.
    """

    metrics: dict[str, Estimate]
    conditions: tuple[ConditionMetrics, ...]
    histogram: ScoreHistogram
    singer_scores: Float[np.ndarray, "singers singers"] | None
    by_singer: tuple[SingerMetrics, ...]
    confused: tuple[ConfusedSingers, ...]
    worst_misses: tuple[ScoredTrial, ...]
    worst_false_alarms: tuple[ScoredTrial, ...]
    num_resamples: int
