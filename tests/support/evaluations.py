"""Evaluations that reports are made of, from random embeddings, by plain loops."""

from collections.abc import Callable

import numpy as np

from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.evaluation.metrics.error_rates import build_false_alarm_grid, compute_eer, compute_miss_rates
from singer_verify.evaluation.results import (
    ConditionMetrics,
    ConfusedSingers,
    DegradedResult,
    EvaluatedUtterances,
    EvaluationResult,
    RobustnessResult,
    ScoredTrial,
    ScoreHistogram,
    SingerMetrics,
)
from singer_verify.evaluation.trials.trial_list import Trials, build_all_pairs


def build_evaluated_utterances(
    singers: tuple[str, ...], utterances_per_singer: int = 6, suffix: str = ".wav"
) -> EvaluatedUtterances:
    """Around a direction for each singer; genders by turns, songs `a` and `b`, no technique known of some."""
    generator = np.random.default_rng(0)
    index = np.repeat(np.arange(len(singers)), utterances_per_singer)
    rows = generator.standard_normal((len(singers), 8))[index] + 1.2 * generator.standard_normal((len(index), 8))
    labels = {
        "gender": np.array(["female", "male"], object)[index % 2],
        "song": np.tile(np.array(["a", "b"], object), len(index))[: len(index)],
        "technique": np.array([["vibrato", "straight", ""][number % 3] for number in range(len(index))], object),
    }
    paths = np.array([f"val/{singers[who]}/{number}{suffix}" for number, who in enumerate(index)], object)
    return EvaluatedUtterances(paths, singers, index, labels, rows / np.linalg.norm(rows, axis=1, keepdims=True))


def build_evaluation_result(utterances: EvaluatedUtterances) -> EvaluationResult:
    """All pairs; `all`, `hard`, and `cross gender`, which has no target trials."""
    trials = build_all_pairs(utterances.singer_index)
    scores = np.einsum("te,te->t", utterances.embeddings[trials.left], utterances.embeddings[trials.right])
    eer, threshold = compute_eer(scores, trials.is_target)
    figures = {
        "eer": Estimate(eer, eer / 2, eer + 0.05),
        "threshold": Estimate(threshold, threshold - 0.1, threshold + 0.1),
        "min_dcf_0.01": Estimate(0.9, 0.8, 1.0),
        "top_1": Estimate(1.0, np.nan, np.nan),
    }
    by_score = np.argsort(scores)
    misses, false_alarms = by_score[trials.is_target[by_score]][:3], by_score[~trials.is_target[by_score]][::-1][:3]
    return EvaluationResult(
        figures,
        _conditions(utterances, trials, scores),
        _histogram(scores, trials.is_target),
        _singer_scores(utterances, trials, scores),
        tuple(_singer(number, utterances, trials, scores) for number in range(len(utterances.singers))),
        (ConfusedSingers(0, 1, 0.5, 0.4, 36, tuple(_scored(trials, scores, false_alarms))),),
        tuple(_scored(trials, scores, misses)),
        tuple(_scored(trials, scores, false_alarms)),
        500,
    )


def build_robustness_result(sides: str = "test") -> RobustnessResult:
    """Noise of three strengths, a change of key, and reverberation that leaves nothing to evaluate."""
    clean = np.random.default_rng(0).uniform(0.1, 0.2, 100)
    strengths = {
        "noise": ((20.0, "20 dB"), (0.0, "0 dB")),
        "pitch_shift": ((-2.0, "-2 semitones"), (2.0, "+2 semitones")),
    }
    entries = [
        DegradedResult(
            kind,
            strength,
            text,
            6,
            {"0.flac": "0.flac: holds no voice"} if strength == 0.0 else {},
            {"eer": Estimate(0.2, 0.1, 0.3), "auc": Estimate(0.9, np.nan, np.nan)},
            {"eer": Estimate(0.15, 0.1, 0.2), "auc": Estimate(0.95, 0.9, 1.0)},
            clean + 0.05,
            clean,
        )
        for kind, listed in strengths.items()
        for strength, text in listed
    ]
    empty = np.zeros(0)
    failed = DegradedResult("reverb", 9.0, "9 s", 0, {}, {}, {}, empty, empty, "0 target trials")
    return RobustnessResult((*entries, failed), sides, Estimate(0.15, 0.1, 0.2), "3 files")


def _scored(trials: Trials, scores: np.ndarray, chosen: np.ndarray) -> list[ScoredTrial]:
    return [
        ScoredTrial(
            int(trials.left[trial]), int(trials.right[trial]), float(scores[trial]), bool(trials.is_target[trial])
        )
        for trial in chosen
    ]


def _conditions(utterances: EvaluatedUtterances, trials: Trials, scores: np.ndarray) -> tuple[ConditionMetrics, ...]:
    def differ(label: str) -> np.ndarray:
        values = utterances.labels[label]
        return np.asarray(values[trials.left] != values[trials.right], bool)

    kept = {
        "all": np.ones(len(scores), bool),
        "cross gender": differ("gender"),
        "hard": differ("song") & ~differ("gender"),
    }
    return tuple(_condition(name, scores[is_kept], trials.is_target[is_kept]) for name, is_kept in kept.items())


def _condition(name: str, scores: np.ndarray, is_target: np.ndarray) -> ConditionMetrics:
    num_targets, num_nontargets = int(is_target.sum()), int((~is_target).sum())
    if not num_targets:
        return ConditionMetrics(name, 0, num_nontargets, {}, None)
    eer = compute_eer(scores, is_target)[0]
    miss = compute_miss_rates(scores, is_target, build_false_alarm_grid())
    metrics = {"eer": Estimate(eer, eer / 2, eer * 2), "min_dcf_0.01": Estimate(0.9, 0.8, 1.0)}
    return ConditionMetrics(name, num_targets, num_nontargets, metrics, miss)


def _histogram(scores: np.ndarray, is_target: np.ndarray) -> ScoreHistogram:
    edges = np.linspace(scores.min(), scores.max(), 21)
    return ScoreHistogram(edges, *(np.histogram(scores[kind], edges)[0] for kind in (is_target, ~is_target)))


def _singer_scores(utterances: EvaluatedUtterances, trials: Trials, scores: np.ndarray) -> np.ndarray:
    left, right = utterances.singer_index[trials.left], utterances.singer_index[trials.right]

    def mean(one: int, other: int) -> float:
        return float(scores[((left == one) & (right == other)) | ((left == other) & (right == one))].mean())

    return _square(len(utterances.singers), mean)


def _square(size: int, entry: Callable[[int, int], float]) -> np.ndarray:
    return np.array([[entry(row, column) for column in range(size)] for row in range(size)])


def _singer(number: int, utterances: EvaluatedUtterances, trials: Trials, scores: np.ndarray) -> SingerMetrics:
    is_his = (utterances.singer_index[trials.left] == number) | (utterances.singer_index[trials.right] == number)
    is_target = trials.is_target[is_his]
    counts = int(is_target.sum()), int((~is_target).sum())
    eer = compute_eer(scores[is_his], is_target)[0] if number else None  # as if the first had too few trials
    return SingerMetrics(number, *counts, eer, (number + 1) % len(utterances.singers))
