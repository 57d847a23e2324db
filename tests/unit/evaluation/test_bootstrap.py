"""Systems compared on the same resamples of singers: slow oracles, worked examples, and cases whose answer is known."""

import numpy as np
import pytest

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.metrics.bootstrap import (
    MAX_SCORE_LEVELS,
    apply_holm_correction,
    build_trial_matrix,
    compute_percentile_interval,
    compute_resampled_metrics,
    compute_two_sided_p_value,
    draw_bootstrap_weights,
)
from singer_verify.evaluation.metrics.error_rates import (
    build_false_alarm_grid,
    compute_eer,
    compute_min_dcf,
    compute_miss_rates,
)
from singer_verify.evaluation.metrics.registry import METRICS
from singer_verify.evaluation.trials.trial_list import build_all_pairs

COMPARED = {name: METRICS[name] for name in ("eer", "min_dcf_0.01", "min_dcf_0.05")}


def resampled_rates(scores: np.ndarray, left: np.ndarray, right: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """(resamples, 3), the metrics named in `COMPARED`."""
    return np.stack(list(compute_resampled_metrics(scores, left, right, draws, COMPARED).values()), axis=1)


def trials_of(seed: int, decimals: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores and singers of all pairs of 5 singers' 4 utterances; with one decimal, many scores are equal."""
    singers = np.repeat(np.arange(5), 4)
    trials = build_all_pairs(singers)
    scores = np.random.default_rng(seed).normal(trials.is_target * 1.5, 1.0)
    return np.round(scores, decimals), singers[trials.left], singers[trials.right]


def drawn(left: np.ndarray, right: np.ndarray, num_resamples: int, seed: int = 0) -> np.ndarray:
    return draw_bootstrap_weights(build_trial_matrix(left, right, int(right.max()) + 1), num_resamples, seed)


def repeated(values: np.ndarray, left: np.ndarray, right: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Every trial as often as its singers were drawn."""
    times = [counts[a] if a == b else counts[a] * counts[b] for a, b in zip(left, right, strict=True)]
    return np.repeat(values, times)


@pytest.mark.parametrize("decimals", [8, 1])
@pytest.mark.parametrize("seed", range(4))
def test_resampled_rates_equal_those_of_repeated_trials(seed: int, decimals: int) -> None:
    scores, left, right = trials_of(seed, decimals)
    draws = drawn(left, right, 20, seed)
    rates = resampled_rates(scores, left, right, draws)
    for counts, rate in zip(draws, rates, strict=True):
        again, is_target = (repeated(values, left, right, counts) for values in (scores, left == right))
        expected = compute_eer(again, is_target)[0], *(compute_min_dcf(again, is_target, p) for p in (0.01, 0.05))
        np.testing.assert_allclose(rate, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("decimals", [8, 1])
@pytest.mark.parametrize("seed", range(4))
def test_every_singer_once_gives_the_plain_rates(seed: int, decimals: int) -> None:
    scores, left, right = trials_of(seed, decimals)
    rate = resampled_rates(scores, left, right, np.ones((1, 5), np.int64))[0]
    expected = compute_eer(scores, left == right)[0], *(compute_min_dcf(scores, left == right, p) for p in (0.01, 0.05))
    np.testing.assert_allclose(rate, expected, rtol=0, atol=1e-12)


def test_rates_are_none_where_a_resample_leaves_one_kind_of_trials() -> None:
    scores, left, right = trials_of(0)
    rates = resampled_rates(scores, left, right, np.array([[5, 0, 0, 0, 0], [4, 1, 0, 0, 0]]))
    assert np.isnan(rates[0]).all()
    assert np.isfinite(rates[1]).all()
    with pytest.raises(SingerVerifyError, match="1 of 190 scores are NaN or infinite"):
        resampled_rates(np.where(np.arange(190) == 7, np.nan, scores), left, right, np.ones((1, 5), np.int64))


def test_draws_are_as_many_as_singers_and_leave_both_kinds_of_trials() -> None:
    _, left, right = trials_of(0)
    draws = drawn(left, right, 300)
    assert draws.shape == (300, 5)
    assert (draws.sum(axis=1) == 5).all()
    assert ((draws > 0).sum(axis=1) >= 2).all()
    np.testing.assert_array_equal(draws, drawn(left, right, 300))
    with pytest.raises(SingerVerifyError, match="one kind only"):
        drawn(np.array([0, 0]), np.array([1, 2]), 10)


def test_an_interval_needs_two_singers() -> None:
    with pytest.raises(SingerVerifyError, match="needs at least 2"):
        drawn(np.zeros(3, int), np.zeros(3, int), 10)


def test_many_target_scores_are_counted_in_levels_that_lose_next_to_nothing() -> None:
    singers = np.repeat(np.arange(4), 120)
    trials = build_all_pairs(singers)
    scores = np.random.default_rng(0).normal(trials.is_target * 1.5, 1.0)
    rates = resampled_rates(scores, singers[trials.left], singers[trials.right], np.ones((1, 4), np.int64))[0]
    expected = (
        compute_eer(scores, trials.is_target)[0],
        *(compute_min_dcf(scores, trials.is_target, p) for p in (0.01, 0.05)),
    )
    assert trials.is_target.sum() > 2 * MAX_SCORE_LEVELS
    np.testing.assert_allclose(rates, expected, rtol=0, atol=2e-4)


def test_no_interval_where_most_resamples_have_no_rate() -> None:
    estimate = compute_percentile_interval(0.2, np.array([0.1, np.nan, np.nan]))
    assert np.isnan([estimate.low, estimate.high]).all()
    assert compute_percentile_interval(0.2, np.array([0.1, 0.1, np.nan])).low == pytest.approx(0.1)


def test_a_system_does_not_differ_from_itself_and_a_constant_difference_is_certain() -> None:
    scores, left, right = trials_of(2)
    rates = resampled_rates(scores, left, right, drawn(left, right, 99))[:, 0]
    assert compute_two_sided_p_value(rates - rates, 12) == 1.0
    assert compute_two_sided_p_value((rates + 0.01) - rates, 12) == pytest.approx(2 / 100)


def test_p_counts_the_rarer_side_twice() -> None:
    assert compute_two_sided_p_value(np.array([-1.0] * 5 + [1.0] * 94), 12) == pytest.approx(2 * 6 / 100)
    assert compute_two_sided_p_value(np.array([-1.0] * 94 + [1.0] * 5), 12) == pytest.approx(2 * 6 / 100)
    assert compute_two_sided_p_value(np.array([-1.0, 1.0]), 12) == 1.0


def test_p_of_a_handful_of_singers_is_no_smaller_than_an_exact_test_gives() -> None:
    certain = np.full(999, 0.1)
    assert [compute_two_sided_p_value(certain, singers) for singers in (2, 5, 6, 30)] == pytest.approx(
        [1 / 2, 1 / 16, 1 / 32, 2 / 1000]
    )


def test_equal_systems_are_rarely_found_different() -> None:
    """Two systems of equal worth: the paired p falls below 0.05 about once in twenty, with few singers more."""
    singers = np.repeat(np.arange(12), 3)
    trials = build_all_pairs(singers)
    left, right = singers[trials.left], singers[trials.right]
    draws = drawn(left, right, 199)
    num_significant = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        systems = (generator.normal(trials.is_target * 1.5, 1.0) for _ in range(2))
        first, second = (resampled_rates(scores, left, right, draws)[:, 0] for scores in systems)
        num_significant += compute_two_sided_p_value(first - second, 12) < 0.05
    assert num_significant <= 8


def test_a_better_system_is_found_though_singers_differ_more_than_systems() -> None:
    singers = np.repeat(np.arange(12), 3)
    trials = build_all_pairs(singers)
    left, right = singers[trials.left], singers[trials.right]
    draws = drawn(left, right, 499)
    ease = np.linspace(-1.0, 4.0, 12)[left]  # of recognising each singer
    worse = np.random.default_rng(0).normal(trials.is_target * ease, 1.0)
    rates = [resampled_rates(scores, left, right, draws)[:, 0] for scores in (worse + 1.0 * trials.is_target, worse)]
    better, other = (compute_percentile_interval(0.0, resamples) for resamples in rates)
    assert better.high > other.low  # taken by themselves, their intervals overlap
    assert compute_two_sided_p_value(rates[0] - rates[1], 12) < 0.05


def test_holm_worked_example() -> None:
    assert apply_holm_correction([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert apply_holm_correction([]) == []
    assert apply_holm_correction([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("seed", range(5))
def test_holm_equals_stepping_down_one_by_one(seed: int) -> None:
    """A hypothesis falls at a level if all smaller p values do, and its own is under level / those left (Holm 1979)."""
    p_values = np.random.default_rng(seed).random(7) ** 3
    corrected = apply_holm_correction(p_values.tolist())
    for level in np.linspace(0.001, 0.999, 97):
        rejected = np.zeros(7, bool)
        for num_before, index in enumerate(np.argsort(p_values)):
            if p_values[index] > level / (7 - num_before):
                break
            rejected[index] = True
        np.testing.assert_array_equal(np.array(corrected) <= level, rejected)


def test_det_gives_the_misses_at_a_false_alarm_rate() -> None:
    scores, is_target = np.array([0.1, 0.2, 0.3, 0.4, 0.25, 0.5]), np.array([False] * 4 + [True] * 2)
    np.testing.assert_allclose(
        compute_miss_rates(scores, is_target, np.array([0.0, 0.25, 0.5, 1.0])), [0.5, 0.5, 0.0, 0.0]
    )
    grid = build_false_alarm_grid()
    assert (grid[0], grid[-1]) == (pytest.approx(0.001), pytest.approx(0.6))
    scores, left, right = trials_of(0)
    assert (np.diff(compute_miss_rates(scores, left == right, grid)) <= 0).all()
