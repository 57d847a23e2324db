"""The cost of log-likelihood ratios and their calibration: worked examples, scikit-learn as oracle, refusals."""

import time

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.metrics.cllr import compute_cllr, compute_min_cllr, compute_min_cllr_from_counts
from singer_verify.evaluation.scoring.calibration import fit_calibration


def random_trials(seed: int, decimals: int = 8, num_trials: int = 600) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    is_target = generator.random(num_trials) < 0.3
    return np.round(generator.normal(is_target * 1.5, 1.0), decimals), is_target


def test_saying_nothing_costs_one_bit() -> None:
    assert compute_cllr(np.zeros(7), np.arange(7) < 3) == 1.0
    assert compute_min_cllr(np.full(7, 0.3), np.arange(7) < 3) == 1.0


def test_worked_examples() -> None:
    ratios = np.log([3.0, 1 / 3, 1 / 3])  # targets cost log2(4/3) and log2(4), the other log2(4/3)
    expected = 0.5 * ((np.log2(4 / 3) + 2.0) / 2 + np.log2(4 / 3))
    assert compute_cllr(ratios, np.array([True, True, False])) == pytest.approx(expected, rel=1e-12)
    # pools: {one target, both of two non-targets}, {the other target}: shares 1/2 of targets in a pool with all others
    scores, is_target = np.array([0.1, 0.2, 0.3, 0.9]), np.array([False, True, False, True])
    # 0.1 alone is certain; 0.2 and 0.3 violate the order and are pooled with ratio (1/2) / (1/2) = 1; 0.9 is certain
    assert compute_min_cllr(scores, is_target) == pytest.approx(0.5 * (0.5 + 0.5), rel=1e-12)


def test_certainty_costs_nothing_where_right_and_everything_where_wrong() -> None:
    is_target = np.array([True, False])
    assert compute_cllr(np.array([np.inf, -np.inf]), is_target) == 0.0
    assert compute_cllr(np.array([-np.inf, -np.inf]), is_target) == np.inf
    assert compute_cllr(np.array([-1e6, -1e6]), is_target) > 1e5
    assert compute_cllr(np.array([1.0, 0.0, np.inf]), np.array([True, False, False]), np.array([1.0, 1.0, 0.0])) < 1.0
    assert compute_min_cllr(np.array([0.2, 0.8]), is_target[::-1]) == 0.0


@pytest.mark.parametrize("decimals", [8, 1, 0])  # 0: a handful of levels
@pytest.mark.parametrize("seed", range(4))
def test_min_cllr_is_that_of_isotonic_regression(seed: int, decimals: int) -> None:
    scores, is_target = random_trials(seed, decimals)
    probability = IsotonicRegression(y_min=0, y_max=1).fit_transform(scores, is_target.astype(float))
    with np.errstate(divide="ignore"):
        ratios = np.log(probability / (1 - probability)) - np.log(is_target.sum() / (~is_target).sum())
    assert compute_min_cllr(scores, is_target) == pytest.approx(compute_cllr(ratios, is_target), rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_min_cllr_knows_the_order_only_and_is_the_least(seed: int) -> None:
    scores, is_target = random_trials(seed, 1)
    least = compute_min_cllr(scores, is_target)
    assert compute_min_cllr(np.exp(3 * scores) - 7, is_target) == pytest.approx(least, rel=1e-12)
    for ratios in (scores, 2 * scores - 1, np.tanh(scores), scores**3):
        assert compute_cllr(ratios, is_target) >= least
    order = np.random.default_rng(0).permutation(scores.size)
    assert compute_min_cllr(scores[order], is_target[order]) == pytest.approx(least, rel=1e-12)


def test_weights_count_repetitions() -> None:
    scores, is_target = random_trials(2, 1)
    counts = np.random.default_rng(0).integers(0, 4, scores.size)
    again, again_target = np.repeat(scores, counts), np.repeat(is_target, counts)
    weights = counts.astype(float)
    assert compute_cllr(scores, is_target, weights) == pytest.approx(compute_cllr(again, again_target), rel=1e-12)
    assert compute_min_cllr(scores, is_target, weights) == pytest.approx(
        compute_min_cllr(again, again_target), rel=1e-12
    )


def test_levels_without_trials_change_nothing_and_missing_kinds_have_no_cost() -> None:
    targets, nontargets = np.array([0.0, 1, 0, 3]), np.array([2.0, 1, 0, 0])
    dense = compute_min_cllr_from_counts(targets[[0, 1, 3]], nontargets[[0, 1, 3]])
    assert compute_min_cllr_from_counts(targets, nontargets) == dense
    assert compute_min_cllr_from_counts(5 * targets, 0.5 * nontargets) == pytest.approx(
        dense
    )  # kinds count as one half each
    assert np.isnan(compute_min_cllr_from_counts(targets, np.zeros(4)))


def test_a_bootstrap_of_two_thousand_levels_is_quick() -> None:
    generator = np.random.default_rng(0)
    targets, nontargets = generator.random((2, 2000))
    start = time.perf_counter()
    for _ in range(20):
        compute_min_cllr_from_counts(targets, nontargets)
    assert (time.perf_counter() - start) / 20 < 0.01


def test_refusals_of_costs() -> None:
    with pytest.raises(SingerVerifyError, match="1 of 2 log-likelihood ratios are NaN"):
        compute_cllr(np.array([0.1, np.nan]), np.array([True, False]))
    with pytest.raises(SingerVerifyError, match="2 target and 0 non-target trials"):
        compute_cllr(np.zeros(2), np.array([True, True]))
    with pytest.raises(SingerVerifyError, match="1 of 2 scores are NaN or infinite"):
        compute_min_cllr(np.array([0.1, np.inf]), np.array([True, False]))


@pytest.mark.parametrize("prior", [0.5, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_calibration_equals_scikit_learn(seed: int, prior: float) -> None:
    scores, is_target = random_trials(seed)
    calibration = fit_calibration(scores, is_target, "random trials", prior)
    weights = np.where(is_target, prior / is_target.sum(), (1 - prior) / (~is_target).sum()) * scores.size
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(scores[:, None], is_target, weights)
    assert calibration.slope == pytest.approx(oracle.coef_[0, 0], rel=1e-4)
    assert calibration.offset == pytest.approx(oracle.intercept_[0] - np.log(prior / (1 - prior)), rel=1e-3, abs=1e-4)
    assert calibration.origin == "random trials"


def test_calibration_finds_the_ratios_that_scores_were_made_of() -> None:
    """Scores of two normal distributions one deviation wide, at 0 and 2, have the ratio 2 × score - 2."""
    generator = np.random.default_rng(0)
    is_target = np.arange(40_000) % 2 == 0
    calibration = fit_calibration(generator.normal(2.0 * is_target, 1.0), is_target, "")
    assert (calibration.slope, calibration.offset) == (pytest.approx(2.0, abs=0.05), pytest.approx(-2.0, abs=0.05))


def test_calibrated_ratios_lose_little_more_than_the_least() -> None:
    scores, is_target = random_trials(0, num_trials=5000)
    calibration = fit_calibration(0.01 * scores + 0.9, is_target, "")
    calibrated = compute_cllr(calibration.log_likelihood_ratio(0.01 * scores + 0.9), is_target)
    assert compute_min_cllr(scores, is_target) <= calibrated < compute_min_cllr(scores, is_target) + 0.01
    assert calibrated < compute_cllr(0.01 * scores + 0.9, is_target) - 0.2


@pytest.mark.parametrize("gap", [0.2, 0.0])  # 0: the lowest target equals the highest other
def test_separable_scores_are_bounded_and_said(gap: float) -> None:
    scores, is_target = np.concatenate([np.linspace(0, 0.4, 20), np.linspace(0.4 + gap, 1, 10)]), np.arange(30) >= 20
    calibration = fit_calibration(scores, is_target, "a few trials")
    assert calibration.origin.startswith("a few trials; the scores of the two kinds do not overlap")
    ratios = calibration.log_likelihood_ratio(scores)
    assert 0 < calibration.slope < 1000
    assert np.abs(ratios).max() < 15
    assert ratios[is_target].mean() > 1 > -1 > ratios[~is_target].mean()


def test_refusals_of_calibration() -> None:
    scores, is_target = random_trials(1)
    with pytest.raises(SingerVerifyError, match=r"a slope of -1.*higher scores must mean the same singer"):
        fit_calibration(-scores, is_target, "x")
    with pytest.raises(SingerVerifyError, match="a slope of -"):
        fit_calibration(np.array([0.1, 0.2, 0.8, 0.9]), np.array([True, True, False, False]), "x")
    with pytest.raises(SingerVerifyError, match="all 4 scores are equal"):
        fit_calibration(np.full(4, 0.5), np.arange(4) < 2, "x")
    with pytest.raises(SingerVerifyError, match="0 target and 4 non-target trials"):
        fit_calibration(np.arange(4.0), np.zeros(4, bool), "x")
    with pytest.raises(SingerVerifyError, match="1 of 2 scores are NaN"):
        fit_calibration(np.array([np.nan, 1]), np.array([True, False]), "x")
    with pytest.raises(SingerVerifyError, match=r"prior=1\.0: expected a number between"):
        fit_calibration(scores, is_target, "x", 1.0)
