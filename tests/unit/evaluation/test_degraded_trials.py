"""Trials whose test recordings are not those enrolled: pairs count in both directions, a singer's model in one."""

import numpy as np
import pytest
from support.evaluations import build_evaluated_utterances

from singer_verify.evaluation.conditions import UtteranceMetadata
from singer_verify.evaluation.evaluate import EvaluationSettings, evaluate
from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.evaluation.metrics.error_rates import compute_eer
from singer_verify.evaluation.results import DegradedResult, EvaluationResult, RobustnessResult
from singer_verify.evaluation.scoring.enrolment import SingerModels
from singer_verify.evaluation.scoring.normalisation import Cohort
from singer_verify.evaluation.scoring.scoring import COSINE, Scoring, Threshold
from singer_verify.evaluation.trials.trial_list import Trials, build_all_pairs

UTTERANCES = build_evaluated_utterances(("a", "b", "c", "d", "e"), 7)
SINGERS = UTTERANCES.singer_index


def disturb(strength: float = 0.6) -> np.ndarray:
    rows = UTTERANCES.embeddings + strength * np.random.default_rng(5).standard_normal(UTTERANCES.embeddings.shape)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def run(tests: np.ndarray | None, trials: Trials | None = None, scoring: Scoring = COSINE) -> EvaluationResult:
    settings = EvaluationSettings(scoring, trials, num_resamples=50, conditions=frozenset())
    return evaluate(UTTERANCES.embeddings, SINGERS, UtteranceMetadata({}), settings, test_embeddings=tests)


def make_scoring() -> Scoring:
    cohort = np.random.default_rng(1).standard_normal((20, UTTERANCES.embeddings.shape[1]))
    rows = cohort / np.linalg.norm(cohort, axis=1, keepdims=True)
    return Scoring(cohort=Cohort(rows, None), threshold=Threshold(0.3, "given"))


@pytest.mark.parametrize("scoring", [COSINE, make_scoring()])
def test_test_recordings_equal_to_those_enrolled_change_no_metric(scoring: Scoring) -> None:
    plain, twice = run(None, scoring=scoring), run(UTTERANCES.embeddings, scoring=scoring)
    assert twice.metrics.keys() == plain.metrics.keys()
    for name, estimate in plain.metrics.items():
        assert twice.metrics[name].value == pytest.approx(estimate.value, abs=1e-12), name
        assert twice.metrics[name].low == pytest.approx(estimate.low, abs=1e-12), name
    assert twice.metrics["eer"].value == plain.metrics["eer"].value
    assert np.allclose(plain.resampled_eers, twice.resampled_eers, atol=1e-12)
    assert twice.conditions[0].num_targets == 2 * plain.conditions[0].num_targets


def test_either_utterance_of_a_pair_is_the_test_recording_once() -> None:
    tests, pairs = disturb(), build_all_pairs(SINGERS)
    scores = [UTTERANCES.embeddings[pairs.left] @ tests.T, tests[pairs.left] @ UTTERANCES.embeddings.T]
    listed = np.concatenate([side[np.arange(len(pairs.right)), pairs.right] for side in scores])
    expected, _ = compute_eer(listed, np.tile(pairs.is_target, 2))
    assert run(tests).metrics["eer"].value == pytest.approx(expected, abs=1e-12)
    assert run(tests, pairs).metrics["eer"].value == pytest.approx(expected, abs=1e-12)
    assert expected > run(None).metrics["eer"].value


def test_models_of_singers_are_enrolled_from_clean_recordings() -> None:
    tests = disturb()
    models = SingerModels(np.arange(5), np.full(5, -1), np.full(5, 7))
    left, right = (side.ravel() for side in np.meshgrid(len(SINGERS) + np.arange(5), np.arange(len(SINGERS))))
    is_target = SINGERS[right] == left - len(SINGERS)
    means = np.stack([UTTERANCES.embeddings[singer == SINGERS].sum(axis=0) for singer in range(5)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    expected, _ = compute_eer((means[left - len(SINGERS)] * tests[right]).sum(axis=1), is_target)
    for trials in (Trials(left, right, is_target, models), Trials(right, left, is_target, models)):
        result = run(tests, trials)
        assert result.metrics["eer"].value == pytest.approx(expected, abs=1e-9)
        assert result.conditions[0].num_targets + result.conditions[0].num_nontargets == len(left)


def test_queries_are_degraded_and_enrolled_singers_are_not() -> None:
    tests = disturb(3.0)
    clean, degraded = run(None).metrics, run(tests).metrics
    assert degraded["top_1"].value < clean["top_1"].value
    assert degraded["mean_normalised_rank"].value > clean["mean_normalised_rank"].value


def make_entry(kind: str, eers: np.ndarray, clean: np.ndarray, num_singers: int = 5) -> DegradedResult:
    metrics, reference = ({"eer": Estimate(float(values.mean()), 0.0, 1.0)} for values in (eers, clean))
    return DegradedResult(kind, 1.0, "1 dB", num_singers, {}, metrics, reference, eers, clean)


def test_differences_are_paired_and_means_weigh_kinds_alike() -> None:
    clean = np.random.default_rng(0).uniform(0.0, 0.3, 200)
    entries = [make_entry("noise", clean + shift, clean) for shift in (0.02, 0.04)] + [make_entry("mp3", clean, clean)]
    result = RobustnessResult(tuple(entries), "test", Estimate(0.15, 0.0, 0.3))
    assert [entry.difference.value for entry in entries] == pytest.approx([0.02, 0.04, 0.0])
    assert [entry.difference.low for entry in entries] == pytest.approx([0.02, 0.04, 0.0])
    assert result.mean_difference.value == pytest.approx(0.015)
    assert (result.mean_difference.low, result.mean_difference.high) == pytest.approx((0.015, 0.015))
    assert result.mean_eer.value == pytest.approx(clean.mean() + 0.015)
    fewer = RobustnessResult((*entries, make_entry("tempo", clean, clean, 4)), "test", result.clean)
    assert np.isnan(fewer.mean_eer.low)
    empty = np.zeros(0)
    failed = DegradedResult("reverb", 9.0, "9 s", 0, {"a.wav": "silent"}, {}, {}, empty, empty, "too few")
    assert failed.difference is None
    assert RobustnessResult((*entries, failed), "test", result.clean).mean_eer is None
