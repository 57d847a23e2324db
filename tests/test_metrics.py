"""Error rates: worked examples, scikit-learn as oracle, and what they must not depend on."""

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.intervals import interval_over_singers
from singer_verify.evaluation.metrics import equal_error_rate, error_curve, min_dcf
from singer_verify.evaluation.trials import all_pairs, cosine_scores
from singer_verify.evaluation.verification import verify_all_pairs


def random_trials(seed: int, decimals: int = 8) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    is_target = generator.random(500) < 0.2
    return np.round(generator.normal(is_target * 1.5, 1.0), decimals), is_target


def test_worked_example() -> None:
    scores = np.array([0.1, 0.4, 0.6, 0.9])
    is_target = np.array([False, True, False, True])
    assert equal_error_rate(scores, is_target) == (0.5, pytest.approx(0.6))


def test_separable_scores_make_no_errors() -> None:
    eer, threshold = equal_error_rate(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]))
    assert eer == 0.0
    assert 0.2 < threshold <= 0.8


def test_equal_scores_are_a_coin_toss() -> None:
    assert equal_error_rate(np.full(10, 0.3), np.arange(10) < 3)[0] == pytest.approx(0.5)


@pytest.mark.parametrize("decimals", [8, 1])  # 1: many ties
@pytest.mark.parametrize("seed", range(5))
def test_eer_equals_scikit_learn(seed: int, decimals: int) -> None:
    scores, is_target = random_trials(seed, decimals)
    false_alarm, hit, _ = roc_curve(is_target, scores, drop_intermediate=False)
    expected = brentq(lambda rate: 1 - rate - interp1d(false_alarm, hit)(rate), 0, 1)
    assert equal_error_rate(scores, is_target)[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_min_dcf_equals_a_slow_loop(seed: int) -> None:
    scores, is_target = random_trials(seed, 1)
    costs = []
    for threshold in [*scores, np.inf]:
        miss = (scores[is_target] < threshold).mean()
        false_alarm = (scores[~is_target] >= threshold).mean()
        costs.append(0.05 * miss + 0.95 * false_alarm)
    assert min_dcf(scores, is_target, 0.05) == pytest.approx(min(costs) / 0.05)


def test_order_of_trials_does_not_matter() -> None:
    scores, is_target = random_trials(1, 1)
    order = np.random.default_rng(0).permutation(scores.size)
    assert equal_error_rate(scores[order], is_target[order]) == equal_error_rate(scores, is_target)


def test_weights_count_repetitions() -> None:
    scores, is_target = random_trials(2)
    counts = np.random.default_rng(0).integers(0, 4, scores.size)
    repeated = equal_error_rate(np.repeat(scores, counts), np.repeat(is_target, counts))
    assert equal_error_rate(scores, is_target, counts.astype(float))[0] == pytest.approx(repeated[0])


def test_curve_runs_from_accepting_all_to_rejecting_all() -> None:
    curve = error_curve(*random_trials(3, 1))
    assert (curve.miss[0], curve.false_alarm[0]) == (0.0, 1.0)
    assert (curve.miss[-1], curve.false_alarm[-1]) == (1.0, 0.0)
    assert (np.diff(curve.thresholds) > 0).all()


def test_refusals() -> None:
    with pytest.raises(SingerVerifyError, match="1 of 2 scores are NaN or infinite"):
        equal_error_rate(np.array([0.1, np.nan]), np.array([True, False]))
    with pytest.raises(SingerVerifyError, match="2 target and 0 non-target trials"):
        equal_error_rate(np.array([0.1, 0.2]), np.array([True, True]))


def test_all_pairs_are_counted_once() -> None:
    trials = all_pairs(np.array([0, 0, 1]))
    assert list(zip(trials.left.tolist(), trials.right.tolist(), trials.is_target.tolist(), strict=True)) == [
        (0, 1, True),
        (0, 2, False),
        (1, 2, False),
    ]


def test_cosines_of_unit_vectors() -> None:
    embeddings = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    np.testing.assert_allclose(cosine_scores(embeddings, all_pairs(np.array([0, 1, 1]))), [0.0, 0.6, 0.8])


def test_verification_of_perfect_embeddings() -> None:
    figures = verify_all_pairs(np.eye(3)[[0, 0, 1, 1, 2, 2]], np.array([0, 0, 1, 1, 2, 2]))
    assert (figures.eer, figures.min_dcf_01, figures.num_trials, figures.num_targets) == (0.0, 0.0, 15, 3)


def test_interval_over_singers_covers_the_mean_and_knows_no_luck() -> None:
    singers = np.repeat(np.arange(8), 4)
    trials = all_pairs(singers)
    left, right = singers[trials.left], singers[trials.right]
    constant = interval_over_singers(lambda weights: 0.25, left, right)
    assert constant == (0.25, 0.25)
    share = interval_over_singers(lambda weights: weights[left == 0].sum() / weights.sum(), left, right)
    assert share[0] < (left == 0).mean() < share[1]
    with pytest.raises(SingerVerifyError, match="needs at least 2"):
        interval_over_singers(lambda weights: 0.0, np.zeros(3, int), np.zeros(3, int))
