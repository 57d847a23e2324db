"""Results of an evaluation: everything a report shows, as plain numbers and names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from singer_verify.evaluation.confounds import Confounds
from singer_verify.evaluation.metrics.bootstrap import Estimate, compute_percentile_interval
from singer_verify.evaluation.metrics.registry import EER
from singer_verify.evaluation.scoring.enrolment import SingerModels


@dataclass(frozen=True)
class EvaluatedUtterances:
    """Utterances that a model was evaluated on.

    Attributes:
        paths: (utterances,), relative to the corpus root.
        singers: sorted names.
        singer_index: (utterances,), index of the singer of each in `singers`.
        labels: values of all utterances by label (gender, song, technique, ...), `""` where unknown.
        embeddings: (utterances, embedding), rows of unit length, as the model computes them.
        contents: (utterances,), identity of what each sounds like, see `audio.content`; empty if unknown.
        copies: path of an utterance that sounds the same as one of the same singer, by the path of the copy, which is
            none of the utterances.
        measures: (utterances,) each, by name, NaN where unknown: duration_s, level_db, ...; empty if not measured.
    """

    paths: np.ndarray
    singers: tuple[str, ...]
    singer_index: Int[np.ndarray, " utterances"]
    labels: dict[str, np.ndarray]
    embeddings: Float[np.ndarray, "utterances embedding"]
    contents: Int[np.ndarray, " listed"] = field(default_factory=lambda: np.zeros(0, np.int64))
    copies: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, Float[np.ndarray, " utterances"]] = field(default_factory=dict)


@dataclass(frozen=True)
class ConditionMetrics:
    """Metrics over the trials of one condition.

    Attributes:
        condition: name of the condition; "all" for all trials.
        num_targets: number of trials of one singer.
        num_nontargets: number of trials of two singers.
        metrics: metrics of `metrics.registry.METRICS` by name, each with its 95 % interval; empty with fewer than
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
    """Distribution of the scores of either kind of trials.

    Attributes:
        edges: (bins + 1,), rising, equally spaced.
        targets: (bins,), number of target trials.
        nontargets: (bins,), number of non-target trials.
    """

    edges: Float[np.ndarray, " edges"]
    targets: Int[np.ndarray, " bins"]
    nontargets: Int[np.ndarray, " bins"]


@dataclass(frozen=True)
class ScoredTrial:
    """A trial by the numbers of its two sides, with its score: utterances, and after them `EvaluationResult.models`."""

    left: int
    right: int
    score: float
    is_target: bool


@dataclass(frozen=True)
class ConfusedSingers:
    """Two singers that the model confuses.

    Metrics of a single pair have no interval over singers.

    Attributes:
        left: index of one singer in `EvaluatedUtterances.singers`.
        right: index of the other singer.
        false_alarm: share of their trials at or above the threshold of the equal error rate.
        mean_score: mean score of their trials.
        num_trials: number of trials between them.
        trials: a few of these trials, the highest scores first.
    """

    left: int
    right: int
    false_alarm: float
    mean_score: float
    num_trials: int
    trials: tuple[ScoredTrial, ...]


@dataclass(frozen=True)
class SingerMetrics:
    """Error rates of one singer against all others.

    Metrics of a single singer have no interval over singers.

    Attributes:
        singer: index in `EvaluatedUtterances.singers`.
        num_targets: number of trials of this singer alone.
        num_nontargets: number of trials with another singer.
        eer: equal error rate over both; None with too few trials.
        nearest: index of the singer with the highest mean score against this one.
    """

    singer: int
    num_targets: int
    num_nontargets: int
    eer: float | None
    nearest: int


@dataclass(frozen=True, repr=False)
class EvaluationResult:
    """The result of an evaluation.

    Attributes:
        metrics: metrics by name, each with its 95 % interval over singers: those of `metrics.registry.METRICS`;
            threshold, top_1, top_5, mean_normalised_rank; miss_at_threshold, false_alarm_at_threshold and
            actual_dcf_<prior> if the scoring has a threshold; cllr, and actual_dcf_<prior> at the Bayes thresholds, if
            it has a calibration. Undefined metrics are absent.
        conditions: "all" first, then the others.
        histogram: histogram of all scores.
        singer_scores: (singers, singers), mean score of each pair, NaN without trials; None with more than
            `confusions.MAX_PAIRWISE_SINGERS` singers, in which case the next two are empty.
        by_singer: one entry per singer, in order; empty with more than `evaluate.MAX_BOOTSTRAP_UNITS` singers.
        confused: the ten most confused pairs of singers, worst first.
        worst_misses: target trials with the lowest scores.
        worst_false_alarms: non-target trials with the highest scores.
        num_resamples: number of bootstrap resamples.
        models: singers that are sides of trials, if the list of trials names singers; otherwise None.
        resampled_eers: (resamples,), equal error rate of all trials in each resample of the singers.
        confounds: what else than the voice tells the singers apart; None if not measured.
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
    models: SingerModels | None = None
    resampled_eers: Float[np.ndarray, " resamples"] = field(default_factory=lambda: np.zeros(0))
    confounds: Confounds | None = None

    def name_side(self, number: int, utterances: EvaluatedUtterances) -> tuple[str, str | None]:
        """Return the singer of one side of a trial, and the path of the utterance; None if the side is the singer."""
        num_utterances = len(utterances.paths)
        if self.models is None or number < num_utterances:
            return utterances.singers[utterances.singer_index[number]], str(utterances.paths[number])
        return utterances.singers[self.models.singer_index[number - num_utterances]], None

    def __repr__(self) -> str:
        whole = self.conditions[0]
        eer = f"EER {whole.eer.value:.2%}" if whole.eer else "too few trials for an EER"
        return f"EvaluationResult({eer}; {whole.num_targets} target and {whole.num_nontargets} non-target trials)"


@dataclass(frozen=True, repr=False)
class DegradedResult:
    """The trials of an evaluation after one degradation, beside the same trials as they are.

    Attributes:
        kind: name of the degradation.
        strength: its strength.
        strength_text: its strength with the unit.
        num_singers: number of singers that have a usable recording.
        unusable: reason by path of each recording that the degradation makes unusable: left out from both.
        metrics: metrics of the degraded trials by name; empty if there are too few recordings left.
        clean: metrics of the same trials of clean recordings.
        resampled_eers: (resamples,), equal error rate of the degraded trials in each resample of the singers.
        resampled_clean: (resamples,), that of the clean trials in the same resamples.
        failure: why there are no metrics; else empty.
    """

    kind: str
    strength: float
    strength_text: str
    num_singers: int
    unusable: Mapping[str, str]
    metrics: Mapping[str, Estimate]
    clean: Mapping[str, Estimate]
    resampled_eers: Float[np.ndarray, " resamples"]
    resampled_clean: Float[np.ndarray, " resamples"]
    failure: str = ""

    @property
    def difference(self) -> Estimate | None:
        """Equal error rate minus that of the clean trials, with the interval of the paired difference."""
        if not self.metrics:
            return None
        value = self.metrics[EER].value - self.clean[EER].value
        return compute_percentile_interval(value, self.resampled_eers - self.resampled_clean)


@dataclass(frozen=True, repr=False)
class RobustnessResult:
    """An evaluation after each of some degradations.

    Attributes:
        entries: results, in the order in which they were asked for.
        sides: which sides of the trials are degraded, `test` or `both`.
        clean: equal error rate of all trials as they are.
        accompaniment: what accompaniments were mixed from; empty where there was none.
    """

    entries: tuple[DegradedResult, ...]
    sides: str
    clean: Estimate
    accompaniment: str = ""

    @property
    def mean_eer(self) -> Estimate | None:
        """Mean over kinds of the mean over their strengths; no interval where singers are lost to some of them."""
        return self._average(lambda entry: (entry.metrics[EER].value, entry.resampled_eers))

    @property
    def mean_difference(self) -> Estimate | None:
        """The same mean of the differences from clean trials."""
        return self._average(
            lambda entry: (
                entry.metrics[EER].value - entry.clean[EER].value,
                entry.resampled_eers - entry.resampled_clean,
            )
        )

    def _average(self, measure: Callable[[DegradedResult], tuple[float, np.ndarray]]) -> Estimate | None:
        if not self.entries or any(not entry.metrics for entry in self.entries):
            return None
        kinds = list(dict.fromkeys(entry.kind for entry in self.entries))
        by_kind = [[measure(entry) for entry in self.entries if entry.kind == kind] for kind in kinds]
        value = float(np.mean([np.mean([value for value, _ in measured]) for measured in by_kind]))
        if len({entry.num_singers for entry in self.entries}) > 1:  # whose resamples are of other singers
            return Estimate.without_interval(value)
        resampled = np.mean([np.mean([values for _, values in measured], axis=0) for measured in by_kind], axis=0)
        return compute_percentile_interval(value, resampled)
