"""Error rates: worked examples, scikit-learn as oracle, and what they must not depend on."""

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score, roc_curve

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.metrics.binned_counts import BinnedCounts
from singer_verify.evaluation.metrics.error_rates import compute_eer, compute_error_curve, compute_min_dcf
from singer_verify.evaluation.metrics.verification import verify_all_pairs
from singer_verify.evaluation.trials.trial_list import build_all_pairs, compute_cosine_scores


def random_trials(seed: int, decimals: int = 8) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    is_target = generator.random(500) < 0.2
    return np.round(generator.normal(is_target * 1.5, 1.0), decimals), is_target


def test_worked_example() -> None:
    scores = np.array([0.1, 0.4, 0.6, 0.9])
    is_target = np.array([False, True, False, True])
    assert compute_eer(scores, is_target) == (0.5, pytest.approx(0.6))


def test_separable_scores_make_no_errors() -> None:
    eer, threshold = compute_eer(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]))
    assert eer == 0.0
    assert 0.2 < threshold <= 0.8


def test_equal_scores_are_a_coin_toss() -> None:
    assert compute_eer(np.full(10, 0.3), np.arange(10) < 3)[0] == pytest.approx(0.5)


@pytest.mark.parametrize("decimals", [8, 1])  # 1: many ties
@pytest.mark.parametrize("seed", range(5))
def test_eer_equals_scikit_learn(seed: int, decimals: int) -> None:
    scores, is_target = random_trials(seed, decimals)
    false_alarm, hit, _ = roc_curve(is_target, scores, drop_intermediate=False)
    expected = brentq(lambda rate: 1 - rate - interp1d(false_alarm, hit)(rate), 0, 1)
    assert compute_eer(scores, is_target)[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_min_dcf_equals_a_slow_loop(seed: int) -> None:
    scores, is_target = random_trials(seed, 1)
    costs = []
    for threshold in [*scores, np.inf]:
        miss = (scores[is_target] < threshold).mean()
        false_alarm = (scores[~is_target] >= threshold).mean()
        costs.append(0.05 * miss + 0.95 * false_alarm)
    assert compute_min_dcf(scores, is_target, 0.05) == pytest.approx(min(costs) / 0.05)


def test_order_of_trials_does_not_matter() -> None:
    scores, is_target = random_trials(1, 1)
    order = np.random.default_rng(0).permutation(scores.size)
    assert compute_eer(scores[order], is_target[order]) == compute_eer(scores, is_target)


@pytest.mark.parametrize("decimals", [8, 1])
@pytest.mark.parametrize("seed", range(5))
def test_every_point_of_scikit_learns_curve_lies_on_ours(seed: int, decimals: int) -> None:
    scores, is_target = random_trials(seed, decimals)
    curve = compute_error_curve(scores, is_target)
    false_alarm, hit, _ = roc_curve(is_target, scores, drop_intermediate=False)
    along = curve.miss - curve.false_alarm  # rises from point to point
    np.testing.assert_allclose(np.interp(1 - hit - false_alarm, along, curve.miss), 1 - hit, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_threshold_lies_between_scores_whose_rates_enclose_the_rate(seed: int) -> None:
    scores, is_target = random_trials(seed, 1)
    eer, threshold = compute_eer(scores, is_target)
    below, above = scores[scores <= threshold].max(), scores[scores >= threshold].min()
    misses, false_alarms = zip(
        *(((scores[is_target] < t).mean(), (scores[~is_target] >= t).mean()) for t in (below, above)), strict=True
    )
    assert min(misses) - 1e-12 <= eer <= max(misses) + 1e-12
    assert min(false_alarms) - 1e-12 <= eer <= max(false_alarms) + 1e-12


def test_single_precision_gives_the_rate_of_the_same_numbers() -> None:
    scores, is_target = random_trials(4)
    single = scores.astype(np.float32)
    assert compute_eer(single, is_target)[0] == compute_eer(single.astype(np.float64), is_target)[0]


def test_curve_runs_from_accepting_all_to_rejecting_all() -> None:
    curve = compute_error_curve(*random_trials(3, 1))
    assert (curve.miss[0], curve.false_alarm[0]) == (0.0, 1.0)
    assert (curve.miss[-1], curve.false_alarm[-1]) == (1.0, 0.0)
    assert (np.diff(curve.thresholds) > 0).all()


def test_refusals() -> None:
    with pytest.raises(SingerVerifyError, match="1 of 2 scores are NaN or infinite"):
        compute_eer(np.array([0.1, np.nan]), np.array([True, False]))
    with pytest.raises(SingerVerifyError, match="2 target and 0 non-target trials"):
        compute_eer(np.array([0.1, 0.2]), np.array([True, True]))


def test_all_pairs_are_counted_once() -> None:
    trials = build_all_pairs(np.array([0, 0, 1]))
    assert list(zip(trials.left.tolist(), trials.right.tolist(), trials.is_target.tolist(), strict=True)) == [
        (0, 1, True),
        (0, 2, False),
        (1, 2, False),
    ]


def test_cosines_of_unit_vectors() -> None:
    embeddings = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    np.testing.assert_allclose(compute_cosine_scores(embeddings, build_all_pairs(np.array([0, 1, 1]))), [0.0, 0.6, 0.8])


def test_verification_of_perfect_embeddings() -> None:
    verified = verify_all_pairs(np.eye(3)[[0, 0, 1, 1, 2, 2]], np.array([0, 0, 1, 1, 2, 2]))
    assert (verified.num_trials, verified.num_targets) == (15, 3)
    assert [verified.metrics[name].value for name in ("eer", "min_dcf_0.01", "auc", "min_cllr")] == [0.0, 0.0, 1.0, 0.0]


def test_eer_of_all_scores_at_once_is_not_the_mean_over_batches() -> None:
    """A seed fed torchmetrics' BinaryEER batch by batch, which applies a sigmoid to some batches only."""
    generator = np.random.default_rng(0)
    is_target = np.tile([True, False], 400)
    scores = np.tanh(generator.normal(is_target * 0.8, 0.5)) / 2 + np.repeat([0.4, -0.4], 400)  # batches apart
    halves = [compute_eer(scores[half], is_target[half])[0] for half in (slice(400), slice(400, 800))]
    false_alarm, hit, _ = roc_curve(is_target, scores, drop_intermediate=False)
    expected = brentq(lambda rate: 1 - rate - interp1d(false_alarm, hit)(rate), 0, 1)
    eer = compute_eer(scores, is_target)[0]
    assert eer == pytest.approx(expected, abs=1e-9)
    assert eer > np.mean(halves) + 0.1
    order = np.concatenate([np.arange(0, 800, 2), np.arange(1, 800, 2)])  # other batches, the same rate
    assert compute_eer(scores[order], is_target[order])[0] == eer


@pytest.mark.parametrize("decimals", [8, 1])
@pytest.mark.parametrize("seed", range(5))
def test_counts_with_a_bin_at_every_score_give_the_rates_of_the_scores(seed: int, decimals: int) -> None:
    scores, is_target = random_trials(seed, decimals)
    counts = BinnedCounts.from_scores(scores, is_target)
    assert counts.curve.compute_eer()[0] == [compute_eer(scores, is_target)[0]]
    assert counts.curve.compute_min_dcf(0.05) == [compute_min_dcf(scores, is_target, 0.05)]
    assert counts.curve.compute_auc() == pytest.approx([roc_auc_score(is_target, scores)])
