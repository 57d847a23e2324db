"""Evaluation of a model from its embeddings of a set of utterances: metrics, conditions, and where it fails."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from singer_verify.evaluation.conditions import MIN_TRIALS_PER_KIND, Conditions, UtteranceMetadata
from singer_verify.evaluation.confounds import NuisanceVariables, measure_confounds
from singer_verify.evaluation.confusions import ErrorAnalysis, SingerConfusionMatrix
from singer_verify.evaluation.metrics.bootstrap import (
    BootstrapWeights,
    Estimate,
    compute_percentile_interval,
    draw_bootstrap_weights,
)
from singer_verify.evaluation.metrics.decisions import DecisionCosts, DecisionThresholds, estimate_from_resamples
from singer_verify.evaluation.metrics.error_rates import build_false_alarm_grid
from singer_verify.evaluation.metrics.identification import compute_identification_metrics
from singer_verify.evaluation.metrics.registry import EER, METRICS, TARGET_PRIORS
from singer_verify.evaluation.metrics.trial_counts import ALL_TRIALS, ConditionCounts, TrialCounts
from singer_verify.evaluation.results import ConditionMetrics, EvaluationResult, SingerMetrics
from singer_verify.evaluation.scoring.enrolment import SingerModels, enrol_models
from singer_verify.evaluation.scoring.scoring import Scoring, TrialEmbeddings
from singer_verify.evaluation.trials.blocks import AllPairsSource, TrialListSource, TrialSource, build_test_trials
from singer_verify.evaluation.trials.trial_list import Trials

MAX_BOOTSTRAP_UNITS = 1000  # more singers are resampled in groups
FIXED_THRESHOLD, BAYES_THRESHOLD = "threshold", "bayes"  # chosen beforehand: the scoring's own, and the calibration's
COUNTING_STAGE, COMPARING_STAGE = "counting", "comparing"  # passes over all singers, for progress bars

ProgressCallback = Callable[[Iterable[int], str], Iterable[int]]


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Attributes:
        scoring: scoring of two embeddings.
        trials: pairs of utterances, or of singers' models and utterances; None takes all pairs.
        num_enrolment: number of utterances that enrol a singer, for identification.
        num_resamples: number of bootstrap resamples.
        seed: seed of the bootstrap, and of the draw of enrolment utterances.
        conditions: names of the conditions evaluated besides all trials; None takes all there are.
    """

    scoring: Scoring
    trials: Trials | None = None
    num_enrolment: int = 3
    num_resamples: int = 500
    seed: int = 0
    conditions: frozenset[str] | None = None


def evaluate(
    embeddings: Float[np.ndarray, "utterances embedding"],
    singer_index: Int[np.ndarray, " utterances"],
    descriptions: UtteranceMetadata,
    evaluation: EvaluationSettings,
    progress: ProgressCallback = lambda singers, _: singers,
    test_embeddings: Float[np.ndarray, "utterances embedding"] | None = None,
    nuisances: NuisanceVariables | None = None,
) -> EvaluationResult:
    """Score the trials and compute everything that a report shows.

    Scores are never kept: three passes go over the trials in blocks, so hundreds of millions of them need no more
    memory than millions.

    Args:
        embeddings: (utterances, embedding), rows of unit length.
        singer_index: singer of each utterance, numbered from 0 without gaps.
        descriptions: labels and measurements that define the conditions.
        evaluation: settings.
        progress: iterates over singers and reports; its second argument is `COUNTING_STAGE` or `COMPARING_STAGE`.
        test_embeddings: embeddings of the same utterances as test recordings, where these differ from what is enrolled:
            a pair of utterances is then two trials, as either is the test recording once. Without conditions.
        nuisances: properties of the utterances whose confounding is to be measured; None measures none.

    Raises:
        SingerVerifyError: trials of one kind only, fewer than two singers, embeddings that are not finite, or a scoring
            that centres by domain where the descriptions have none.
    """
    scoring, trials = evaluation.scoring, evaluation.trials
    sides = scoring.prepare_embeddings(embeddings, descriptions.domains)
    num_singers = int(singer_index.max(initial=-1)) + 1
    tests = None if test_embeddings is None else scoring.prepare_embeddings(test_embeddings, descriptions.domains)
    source: TrialSource = AllPairsSource(sides, singer_index, scoring, tests)
    models = None if trials is None else trials.models
    if trials is not None:
        source = _build_list_source(sides, tests, singer_index, scoring, trials)
    if models is not None:
        descriptions = descriptions.join_models(singer_index, models)
        nuisances = None if nuisances is None else nuisances.join_models(singer_index, models)
        scoring = select_models_scoring(scoring, models)
    draws = _build_bootstrap_weights(source, num_singers, evaluation)
    conditions = Conditions(descriptions, evaluation.conditions)
    counts = TrialCounts(source, conditions, draws, progress(range(num_singers), COUNTING_STAGE))
    decisions = DecisionCosts(_build_decision_thresholds(scoring), draws)
    details = ErrorAnalysis(source, counts, decisions, progress(range(num_singers), COMPARING_STAGE))
    settings = evaluation.num_enrolment, evaluation.num_resamples, evaluation.seed
    identified = compute_identification_metrics(sides, singer_index, evaluation.scoring, *settings, tests)
    pairs = details.confusions
    return EvaluationResult(
        metrics=_compute_overall_metrics(counts, details) | _compute_decision_metrics(decisions) | identified,
        conditions=tuple(
            _compute_condition_metrics(name, condition) for name, condition in counts.by_condition.items()
        ),
        histogram=details.scores.histogram,
        singer_scores=None if pairs is None else pairs.mean_scores,
        by_singer=() if pairs is None or counts.by_singer is None else _compute_singer_metrics(counts, pairs),
        confused=() if pairs is None else pairs.find_confused_singers(),
        worst_misses=details.misses.list_worst(),
        worst_false_alarms=details.false_alarms.list_worst(),
        num_resamples=evaluation.num_resamples,
        models=models,
        resampled_eers=METRICS[EER].compute(counts.by_condition[ALL_TRIALS].resampled_counts.build_binned_counts()),
        confounds=None
        if nuisances is None
        else measure_confounds(counts, nuisances, len(singer_index), evaluation.seed),
    )


def _build_list_source(
    sides: TrialEmbeddings,
    tests: TrialEmbeddings | None,
    singer_index: Int[np.ndarray, " utterances"],
    scoring: Scoring,
    trials: Trials,
) -> TrialListSource:
    """Return the trials of a list; sides are the utterances, then models, then the test recordings if they differ."""
    everyone, models = singer_index, trials.models
    if models is not None:
        sides = sides.join(enrol_models(sides, singer_index, models, scoring))
        everyone = np.concatenate([singer_index, models.singer_index])
    if tests is not None:
        trials = build_test_trials(trials, len(singer_index), len(sides))
        sides, everyone = sides.join(tests), np.concatenate([everyone, singer_index])
    return TrialListSource(sides, everyone, scoring, trials, first_model=len(singer_index))


def select_models_scoring(scoring: Scoring, models: SingerModels | None) -> Scoring:
    """Return the scoring whose calibration and threshold are for these models: for the smallest number of recordings.

    One threshold is evaluated, while models without an utterance have one recording less than the singer's others.
    """
    return scoring if models is None else scoring.with_enrolment_size(int(models.num_recordings.min()))


def _build_bootstrap_weights(source: TrialSource, num_singers: int, evaluation: EvaluationSettings) -> BootstrapWeights:
    """Draw the resamples; very many singers are put into random groups, as each of them hardly matters."""
    unit_index = np.arange(num_singers)
    if num_singers > MAX_BOOTSTRAP_UNITS:
        unit_index = np.random.default_rng(evaluation.seed).permutation(num_singers) % MAX_BOOTSTRAP_UNITS
    return BootstrapWeights(
        unit_index,
        draw_bootstrap_weights(source.build_trial_matrix(unit_index), evaluation.num_resamples, evaluation.seed),
    )


def _build_decision_thresholds(scoring: Scoring) -> DecisionThresholds:
    thresholds = {} if scoring.threshold is None else {FIXED_THRESHOLD: scoring.threshold.score}
    if scoring.calibration is not None:
        thresholds |= {f"{BAYES_THRESHOLD}_{prior:g}": scoring.calibration.threshold(prior) for prior in TARGET_PRIORS}
    return DecisionThresholds(thresholds, scoring.calibration)


def _compute_overall_metrics(counts: TrialCounts, details: ErrorAnalysis) -> dict[str, Estimate]:
    """Compute the metrics of all trials; equal error rate and threshold are exact, see `ExactCrossing`."""
    overall = counts.by_condition[ALL_TRIALS]
    estimates = overall.estimate(METRICS)
    eer, threshold = details.crossing.compute_eer()
    _, resampled_thresholds = overall.resampled_counts.build_binned_counts().curve.compute_eer()
    exact = {
        EER: replace(estimates[EER], value=eer),
        "threshold": compute_percentile_interval(threshold, resampled_thresholds),
    }
    return exact | {name: estimate for name, estimate in estimates.items() if name != EER}


def _compute_decision_metrics(sums: DecisionCosts) -> dict[str, Estimate]:
    """Compute metrics at thresholds that were chosen before these trials."""
    decisions = sums.decisions
    metrics: dict[str, Estimate] = {}
    if FIXED_THRESHOLD in decisions.thresholds:
        miss, false_alarm = sums.compute_error_rates(FIXED_THRESHOLD)
        metrics |= {
            "miss_at_threshold": estimate_from_resamples(miss),
            "false_alarm_at_threshold": estimate_from_resamples(false_alarm),
        }
    for prior in TARGET_PRIORS:
        name = f"{BAYES_THRESHOLD}_{prior:g}" if decisions.calibration is not None else FIXED_THRESHOLD
        if name in decisions.thresholds:
            metrics[f"actual_dcf_{prior:g}"] = sums.compute_actual_dcf(name, prior)
    return metrics | ({"cllr": sums.compute_cllr()} if decisions.calibration is not None else {})


def _compute_condition_metrics(name: str, counts: ConditionCounts) -> ConditionMetrics:
    sizes = counts.num_targets, counts.num_nontargets
    if min(sizes) < MIN_TRIALS_PER_KIND:
        return ConditionMetrics(name, *sizes, metrics={}, miss=None)
    miss = counts.binned_counts.curve.compute_miss_rates(build_false_alarm_grid())[0]
    return ConditionMetrics(name, *sizes, counts.estimate(METRICS), miss)


def _compute_singer_metrics(counts: TrialCounts, pairs: SingerConfusionMatrix) -> tuple[SingerMetrics, ...]:
    assert counts.by_singer is not None
    binned_counts, nearest = counts.by_singer.binned_counts, pairs.find_nearest_singers()
    eers = METRICS[EER].compute(binned_counts)
    sizes = np.stack([binned_counts.targets.sum(axis=1), binned_counts.nontargets.sum(axis=1)], axis=1)
    return tuple(
        SingerMetrics(
            singer,
            int(sizes[singer, 0]),
            int(sizes[singer, 1]),
            float(eers[singer]) if sizes[singer].min() >= MIN_TRIALS_PER_KIND else None,
            int(nearest[singer]),
        )
        for singer in range(len(sizes))
    )
