"""How many singers a comparison needs, against its definition, and against simulated studies of a known effect."""

import numpy as np
import pytest

from singer_verify.evaluation.metrics.bootstrap import (
    build_trial_matrix,
    compute_percentile_interval,
    compute_resampled_metrics,
    draw_bootstrap_weights,
)
from singer_verify.evaluation.metrics.error_rates import compute_eer
from singer_verify.evaluation.metrics.power import PowerCurve, SingerPairCounts, compute_power_curves
from singer_verify.evaluation.metrics.registry import EER, METRICS

Study = tuple[list[np.ndarray], np.ndarray, np.ndarray]
SHIFT = 0.25  # of the target scores of the better one of two systems, in standard deviations


def make_study(seed: int, num_singers: int, num_utterances: int = 4) -> Study:
    """Scores of two systems on the same trials; singers are easy or hard for both, and a little for either alone."""
    generator = np.random.default_rng(seed)
    singer_index = np.repeat(np.arange(num_singers), num_utterances)
    first, second = np.triu_indices(len(singer_index), 1)
    left, right = singer_index[first], singer_index[second]
    common, noise = generator.standard_normal(num_singers), generator.standard_normal(len(left))
    scores = []
    for mean in (2.0, 2.0 + SHIFT):
        effect = 0.5 * common + 0.4 * generator.standard_normal(num_singers)
        expected = np.where(left == right, mean + effect[left], 0.3 * (effect[left] + effect[right]))
        scores.append(expected + 0.7 * noise + 0.7 * generator.standard_normal(len(left)))
    return scores, left, right


def count_pairs(study: Study) -> dict[str, list[SingerPairCounts]]:
    scores, left, right = study
    return {name: [SingerPairCounts.from_scores(rows, left, right)] for name, rows in zip("ab", scores, strict=True)}


def test_pairs_are_counted_once_and_give_the_error_rates_of_the_scores() -> None:
    scores, left, right = make_study(0, 12)
    counts = SingerPairCounts.from_scores(scores[0], left, right, max_levels=10_000)
    everyone = np.ones((1, 12), np.int64)
    assert counts.compute_resampled_eers(everyone)[0] == pytest.approx(compute_eer(scores[0], left == right)[0])
    draws = draw_bootstrap_weights(build_trial_matrix(left, right, 12), 50)
    expected = compute_resampled_metrics(scores[0], left, right, draws, {EER: METRICS[EER]})[EER]
    np.testing.assert_allclose(counts.compute_resampled_eers(draws), expected, atol=1e-6)  # in single precision
    swapped = SingerPairCounts.from_scores(scores[0], right, left, max_levels=10_000)
    np.testing.assert_array_equal(swapped.nontargets, counts.nontargets)


def test_power_rises_with_singers_and_with_the_effect() -> None:
    (curve,) = compute_power_curves(count_pairs(make_study(1, 30)), [("a", "b")], (20, 60, 200, 600), num_studies=1000)
    powers = np.stack([curve.compute_power(effect) for effect in (0.0, 0.01, 0.03, 0.1)])
    assert (np.diff(powers, axis=0) >= 0.0).all()
    assert (np.diff(powers[1:], axis=1) >= -0.02).all()  # known to a point or so
    np.testing.assert_allclose(powers[0], 0.025, atol=0.015)  # on the right side, by chance
    assert powers[-1, -1] == 1.0
    needed = [curve.find_num_singers(effect) for effect in (0.02, 0.03, 0.05)]
    assert all(number is not None for number in needed)
    assert needed == sorted(needed, reverse=True)
    assert curve.find_num_singers(1e-4) is None


def test_at_the_observed_number_of_singers_the_draws_are_those_of_the_interval() -> None:
    """An interval that just reaches zero has a power of about a half: that of the difference it was found with."""
    scores, left, right = make_study(2, 30)
    draws = draw_bootstrap_weights(build_trial_matrix(left, right, 30), 2000)
    first, second = (
        compute_resampled_metrics(rows, left, right, draws, {EER: METRICS[EER]}, 150)[EER] for rows in scores
    )
    interval = compute_percentile_interval(0.0, second - first)
    (curve,) = compute_power_curves(count_pairs((scores, left, right)), [("a", "b")], (30,))
    half_width = (interval.high - interval.low) / 2
    assert curve.compute_power(half_width)[0] == pytest.approx(0.5, abs=0.08)


def test_the_number_of_singers_is_the_one_from_which_on_studies_have_the_power() -> None:
    """Not an earlier size that has it by chance; between two sizes, interpolated."""
    scatter = np.linspace(-1.0, 1.0, 201)
    curve = PowerCurve(-0.3, np.array([10, 20, 40, 80]), np.stack([0.1, 1.0, 0.5, 0.05])[:, None] * scatter)
    powers = curve.compute_power()
    assert powers[0] == 1.0 == powers[3]
    assert powers[1] < powers[2] < 0.8
    assert curve.find_num_singers() == np.ceil(40 + 40 * (0.8 - powers[2]) / (1.0 - powers[2]))
    assert curve.find_num_singers(2.5) == 10
    assert curve.find_num_singers(0.01) is None


def test_studies_without_rates_are_left_out() -> None:
    """Two of three singers have trials with each other only; many draws of two lack non-target trials."""
    scores, left, right = make_study(3, 3)
    keeps = (left == right) | (left + right == 1)
    study = [rows[keeps] for rows in scores], left[keeps], right[keeps]
    (curve,) = compute_power_curves(count_pairs(study), [("a", "b")], (2, 50), num_studies=300)
    assert np.isnan(curve.deviations[0]).mean() > 0.5
    assert np.isfinite(curve.deviations[1]).all()
    assert ((curve.compute_power() >= 0.0) & (curve.compute_power() <= 1.0)).all()


@pytest.mark.slow
def test_predicted_power_is_that_of_simulated_studies() -> None:
    """A known effect, studies of new singers analysed by the paired bootstrap, and the power predicted from others.

    Both shares have Monte-Carlo errors: of 160 studies 0.04, and a prediction scatters by 0.05 between pilot studies.
    """
    effect = np.mean(
        [
            np.diff([compute_eer(rows, left == right)[0] for rows in scores])[0]
            for scores, left, right in (make_study(seed, 150) for seed in range(6))
        ]
    )
    sizes, num_studies = (25, 60), 160
    pilots = [compute_power_curves(count_pairs(make_study(50 + seed, 60)), [("a", "b")], sizes)[0] for seed in range(6)]
    predicted = np.mean([curve.compute_power(abs(effect)) for curve in pilots], axis=0)
    for size, power in zip(sizes, predicted, strict=True):
        num_seen = 0
        for seed in range(num_studies):
            scores, left, right = make_study(1000 + seed, size)
            draws = draw_bootstrap_weights(build_trial_matrix(left, right, size), 200, seed)
            first, second = (
                compute_resampled_metrics(rows, left, right, draws, {EER: METRICS[EER]}, 150)[EER] for rows in scores
            )
            num_seen += compute_percentile_interval(0.0, second - first).high < 0.0
        assert power == pytest.approx(num_seen / num_studies, abs=0.12), size
    assert predicted[1] > predicted[0] + 0.15
