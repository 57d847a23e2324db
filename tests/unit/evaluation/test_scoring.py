"""Projections, cohorts, and the scores they make: slow loops and scikit-learn as oracles, properties, refusals."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.metrics.error_rates import compute_eer
from singer_verify.evaluation.scoring import fitting as pair_scores_module
from singer_verify.evaluation.scoring import fitting as several_module
from singer_verify.evaluation.scoring import normalisation as cohort_module
from singer_verify.evaluation.scoring.calibration import fit_calibration
from singer_verify.evaluation.scoring.enrolment import draw_enrolment, draw_gallery
from singer_verify.evaluation.scoring.fitting import (
    NUM_ENROLMENT_DRAWS,
    LabelledEmbeddings,
    build_cohort,
    fit_projection,
    fit_scoring,
    score_all_pairs,
)
from singer_verify.evaluation.scoring.normalisation import Cohort
from singer_verify.evaluation.scoring.projection import Projection, fit_centring, fit_lda, fit_whitening
from singer_verify.evaluation.scoring.scoring import COSINE, Scoring
from singer_verify.evaluation.trials.trial_list import build_all_pairs


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def sung(
    num_singers: int, num_each: int, dims: int, seed: int = 0, spread: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of singers around means of their own, all moved away from the origin."""
    generator = np.random.default_rng(seed)
    singers = np.repeat(np.arange(num_singers), num_each)
    means = generator.normal(size=(num_singers, dims)) + 3.0
    noise = generator.normal(size=(len(singers), dims)) @ generator.normal(size=(dims, dims)) / np.sqrt(dims)
    return unit(means[singers] + spread * noise), singers


def cosines(projection: Projection | Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    projected = unit(projection(rows))
    return projected @ projected.T


def test_centring_moves_the_mean_to_the_origin() -> None:
    rows, _ = sung(5, 6, 8)
    projection = fit_centring(rows)
    np.testing.assert_allclose((rows - projection.mean).mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_array_equal(projection.matrix, np.eye(8))
    np.testing.assert_allclose(np.linalg.norm(projection(rows), axis=1), 1.0, atol=1e-6)


def test_whitened_embeddings_have_no_covariance() -> None:
    rows, _ = sung(400, 10, 6)
    projection = fit_whitening(rows)
    covariance = np.cov(((rows - projection.mean) @ projection.matrix).T, bias=True)
    np.testing.assert_allclose(covariance, np.eye(6), atol=0.05)
    np.testing.assert_allclose(projection.matrix, projection.matrix.T, atol=1e-4)


def test_whitening_is_that_of_principal_components_but_for_a_rotation() -> None:
    rows, _ = sung(400, 10, 6)
    centred = rows - rows.mean(axis=0)
    axes, deviations = np.linalg.svd(centred, full_matrices=False)[2], np.linalg.svd(centred, compute_uv=False)
    principal = (centred[:50] @ axes.T) / deviations
    np.testing.assert_allclose(
        cosines(fit_whitening(rows), rows[:50]), cosines(lambda embeddings: embeddings, principal), atol=0.06
    )


def test_discriminant_analysis_is_that_of_scikit_learn() -> None:
    rows, singers = sung(20, 300, 6)
    rows, singers = np.delete(rows, np.s_[:150], 0), np.delete(singers, np.s_[:150])  # singers count unequally
    oracle = LinearDiscriminantAnalysis(solver="eigen", n_components=3).fit(rows.astype(float), singers)
    similarities = cosines(fit_lda(rows, singers, 3), rows[::97])
    np.testing.assert_allclose(similarities, cosines(oracle.transform, (rows - rows.mean(axis=0))[::97]), atol=0.01)


@pytest.mark.parametrize("shrinkage", [0.0, 0.5, 1.0])
def test_all_dimensions_of_discriminant_analysis_whiten_what_varies_within_singers(shrinkage: float) -> None:
    rows, singers = sung(20, 30, 6)
    matrix = fit_lda(rows, singers, shrinkage=shrinkage).matrix.astype(float)
    within = rows - np.stack([rows[singers == singer].mean(axis=0) for singer in range(20)])[singers]
    covariance = within.T.astype(float) @ within / len(rows)
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / 6 * np.eye(6)
    np.testing.assert_allclose(matrix.T @ shrunk @ matrix, np.eye(6), atol=1e-4)


def test_discriminant_analysis_finds_what_tells_singers_apart() -> None:
    generator = np.random.default_rng(0)
    singers = np.repeat(np.arange(6), 20)
    rows = generator.normal(size=(120, 10)) * np.array([1.0] * 8 + [0.2] * 2)  # wide where all are alike
    rows[:, 8:] += generator.normal(size=(6, 2))[singers]
    similarities = cosines(fit_lda(rows, singers, 2), rows)
    is_same = singers[:, None] == singers
    assert similarities[is_same].mean() > 0.8
    assert similarities[is_same].mean() - similarities[~is_same].mean() > 0.8
    plain = cosines(lambda embeddings: embeddings, rows)
    assert plain[is_same].mean() - plain[~is_same].mean() < 0.3


@pytest.mark.parametrize("fit", [fit_whitening, lambda rows: fit_lda(rows, np.arange(len(rows)) // 3)])
def test_fewer_embeddings_than_dimensions_are_enough(fit: Callable[[np.ndarray], Projection]) -> None:
    rows, _ = sung(4, 3, 64)
    rows[:, 5] = 0.0  # a unit that is silent in the cohort
    projected = fit(rows)(sung(4, 3, 64, seed=1)[0])
    assert np.isfinite(projected).all()
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), 1.0, atol=1e-5)
    loud = unit(np.where(np.arange(64) == 5, 0.2, sung(4, 3, 64, seed=1)[0]))
    assert (cosines(fit(rows), np.concatenate([loud, -loud]))[0] < 1.1).all()


def test_projections_refuse_what_tells_nothing() -> None:
    rows, singers = sung(3, 4, 8)
    for fit in (fit_centring, fit_whitening):
        with pytest.raises(SingerVerifyError, match="none different from another"):
            fit(np.repeat(rows[:1], 4, axis=0))
        with pytest.raises(SingerVerifyError, match="1 embeddings"):
            fit(rows[:1])
    with pytest.raises(
        SingerVerifyError, match="3 singers with embeddings of 8 dimensions allow at most 2 dimensions, but num_dims=3"
    ):
        fit_lda(rows, singers, 3)
    with pytest.raises(SingerVerifyError, match=r"1 singers .* at most 0 dimensions"):
        fit_lda(rows, np.zeros(12, int))
    with pytest.raises(SingerVerifyError, match="none of 3 singers has two utterances that differ"):
        fit_lda(np.repeat(rows[::4], 4, axis=0), singers)
    with pytest.raises(SingerVerifyError, match="not finite"):
        fit_whitening(np.where(rows > 0, np.nan, rows))


@pytest.mark.parametrize("num_nearest", [None, 2, 5, 30])
def test_cohort_statistics_equal_a_slow_loop(num_nearest: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort_module, "MAX_COHORT_SCORES_PER_BLOCK", 100)  # three sides at once
    cohort, sides = sung(10, 3, 8)[0], sung(5, 4, 8, seed=1)[0]
    means, deviations = Cohort(cohort, num_nearest).compute_statistics(sides)
    for side, mean, deviation in zip(sides, means, deviations, strict=True):
        scores = sorted((float(side @ other) for other in cohort), reverse=True)[:num_nearest]
        assert (mean, deviation) == (pytest.approx(np.mean(scores), abs=1e-5), pytest.approx(np.std(scores), abs=1e-5))
    assert means.dtype == np.float32


def test_normalised_scores_are_the_mean_of_what_both_sides_say() -> None:
    cohort, rows = sung(10, 3, 8)[0], sung(5, 4, 8, seed=1)[0]
    scoring = Scoring(cohort=Cohort(cohort, 7))
    sides = scoring.prepare_embeddings(rows)
    scores = scoring.compute_score_matrix(sides[:3], sides[4:9])
    for left in range(3):
        for right in range(4, 9):
            parts = []
            for side in (left, right):
                nearest = np.sort(cohort @ rows[side])[-7:]
                parts.append((rows[left] @ rows[right] - nearest.mean()) / nearest.std())
            assert scores[left, right - 4] == pytest.approx(np.mean(parts), abs=1e-3)
    np.testing.assert_allclose(scoring.compute_pair_scores(sides[:3], sides[4:7]), np.diag(scores[:, :3]), atol=1e-3)
    np.testing.assert_allclose(
        scoring.compute_score_matrix(sides, sides), scoring.compute_score_matrix(sides, sides).T, atol=1e-4
    )


def test_deviation_is_never_zero() -> None:
    rows, _ = sung(2, 2, 8)
    _, deviations = Cohort(np.repeat(rows[:1], 5, axis=0)).compute_statistics(rows)
    assert (deviations > 0).all()
    assert [len(part) for part in Cohort(rows).compute_statistics(rows[:0])] == [0, 0]


def test_cohorts_too_small_are_refused() -> None:
    rows, _ = sung(3, 2, 8)
    with pytest.raises(SingerVerifyError, match="a cohort of 1 utterances: score normalisation needs at least 2"):
        Cohort(rows[:1])
    for num_nearest in (1, 7):
        with pytest.raises(SingerVerifyError, match=f"the nearest {num_nearest} of a cohort of 6 utterances"):
            Cohort(rows, num_nearest)


def test_scores_of_all_pairs_are_those_of_the_list_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_scores_module, "MAX_PAIR_SCORES_PER_BLOCK", 60)  # three rows at once
    rows, singers = sung(5, 4, 8)
    pairs, trials = score_all_pairs(COSINE.prepare_embeddings(rows), singers, COSINE), build_all_pairs(singers)
    np.testing.assert_allclose(pairs.scores, (rows @ rows.T)[trials.left, trials.right], atol=1e-6)
    np.testing.assert_array_equal(pairs.is_target, trials.is_target)
    assert (pairs.num_targets, pairs.num_nontargets, len(pairs.scores)) == (30, 160, 190)


def test_more_pairs_than_needed_are_drawn_and_the_same_for_two_scorings() -> None:
    rows, singers = sung(20, 15, 8)
    centred = Scoring(fit_centring(rows))
    plain, other = (
        score_all_pairs(scoring.prepare_embeddings(rows), singers, scoring, max_per_kind=3000)
        for scoring in (COSINE, centred)
    )
    assert plain.is_target.sum() == plain.num_targets == 20 * 15 * 14 // 2
    assert abs((~plain.is_target).sum() - 3000) < 300
    np.testing.assert_array_equal(plain.is_target, other.is_target)


def test_a_cohort_helps_where_recordings_lie_about_their_singer() -> None:
    """Each utterance leans towards a channel that some share: what whitening and discriminant analysis are for."""
    generator = np.random.default_rng(0)
    channels = 4.0 * generator.normal(size=(5, 16))

    def recorded(num_singers: int, seed: int) -> LabelledEmbeddings:
        draw = np.random.default_rng(seed)
        singers = np.repeat(np.arange(num_singers), 10)
        means = draw.normal(size=(num_singers, 16))
        rows = (
            means[singers] + channels[draw.integers(5, size=len(singers))] + 0.5 * draw.normal(size=(len(singers), 16))
        )
        return LabelledEmbeddings(unit(rows), singers.astype(str))

    others, labelled = recorded(40, 1), recorded(12, 2)
    projection = fit_projection(others, "lda", 10)
    fitted = fit_scoring(Scoring(projection, build_cohort(others, projection, "as-norm")), labelled, "12 singers", 0.5)
    assert fitted.metrics["eer"] < 0.15 < 0.25 < fitted.metrics["eer_cosine"]
    assert fitted.metrics["min_cllr"] <= fitted.metrics["cllr"] < fitted.metrics["min_cllr_cosine"]
    assert fitted.scoring.threshold is not None
    assert fitted.scoring.threshold.origin == "equal error rate on 12 singers"
    assert fitted.scoring.cohort is not None
    assert fitted.scoring.cohort.num_nearest == 100  # a quarter of 400
    assert (fitted.num_trials, fitted.num_targets, fitted.num_used) == (7140, 540, 7140)
    sizes = [calibration.num_recordings for calibration in fitted.scoring.multi_enrolment]
    assert sizes == [2, 3, 5]  # no one has more than 10


def errors(scoring: Scoring, sung_by: LabelledEmbeddings, number: int, seed: int) -> np.ndarray:
    """Misses and false alarms of queries against singers known from so many recordings, at the scoring's threshold."""
    sides = scoring.prepare_embeddings(sung_by.embeddings)
    drawn = draw_gallery(sides, sung_by.singer_index, scoring, number, seed)
    scores = scoring.compute_score_matrix(sides[drawn.queries], drawn.singers)
    is_target = drawn.target_index[:, None] == np.arange(len(drawn.singers))
    assert scoring.threshold is not None
    is_over = scores >= scoring.threshold.score
    return np.array([(~is_over & is_target).sum() / is_target.sum(), (is_over & ~is_target).sum() / (~is_target).sum()])


def test_singers_known_from_several_recordings_have_thresholds_of_their_own() -> None:
    """The threshold of pairs lets more and more strangers pass; theirs keeps both errors alike, with other singers."""
    fitted, other = (
        LabelledEmbeddings(rows, singers.astype(str))
        for rows, singers in (sung(60, 15, 16, 1, 2), sung(60, 15, 16, 2, 2))
    )
    scored = fit_scoring(COSINE, fitted, "60 singers")
    assert [fit.multi_enrolment.num_recordings for fit in scored.multi_enrolment] == [2, 3, 5, 10]
    assert [fit.eer for fit in scored.multi_enrolment] == sorted(
        (fit.eer for fit in scored.multi_enrolment), reverse=True
    )
    for fit in scored.multi_enrolment:
        number = fit.multi_enrolment.num_recordings
        pairs, own = (
            np.mean([errors(scoring, other, number, seed) for seed in range(5)], axis=0)
            for scoring in (scored.scoring, scored.scoring.with_enrolment_size(number))
        )
        assert pairs[1] - pairs[0] > 0.1
        assert abs(own[1] - own[0]) < 0.05
        assert own == pytest.approx(fit.eer, abs=0.05)
        assert (
            fit.multi_enrolment.threshold.origin
            == f"equal error rate on 60 singers, each known from {number} recordings"
        )
    assert scored.scoring.with_enrolment_size(1) == scored.scoring
    assert scored.scoring.with_enrolment_size(4) == scored.scoring.with_enrolment_size(3)
    assert scored.scoring.with_enrolment_size(4).threshold == scored.multi_enrolment[1].multi_enrolment.threshold


def test_what_is_fitted_for_several_recordings_equals_a_slow_loop() -> None:
    rows, singers = sung(6, 9, 8, spread=2.0)
    (two, *_) = fit_scoring(COSINE, LabelledEmbeddings(rows, singers.astype(str)), "x", 0.2).multi_enrolment
    scores, is_target = [], []
    for seed in range(NUM_ENROLMENT_DRAWS):
        is_enrolled = draw_enrolment(singers, 2, seed)
        for query in np.flatnonzero(~is_enrolled):
            for singer in range(6):
                mean = rows[is_enrolled & (singers == singer)].sum(axis=0)
                scores.append(float(rows[query] @ mean / np.linalg.norm(mean)))
                is_target.append(singers[query] == singer)
    expected = fit_calibration(np.array(scores), np.array(is_target), "x", 0.2)
    assert two.num_trials == len(scores) == 10 * 6 * 7 * 6
    assert two.multi_enrolment.calibration.slope == pytest.approx(expected.slope, rel=1e-3)
    assert two.multi_enrolment.calibration.offset == pytest.approx(expected.offset, rel=1e-3)
    assert two.eer == pytest.approx(compute_eer(np.array(scores), np.array(is_target))[0], abs=1e-3)


def test_too_few_recordings_leave_pairs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, singers = sung(6, 4, 8, spread=2.0)
    assert fit_scoring(COSINE, LabelledEmbeddings(rows, singers.astype(str)), "x").multi_enrolment == ()
    monkeypatch.setattr(several_module, "MAX_SCORES_PER_KIND", 5000)
    rows, singers = sung(12, 20, 8, spread=2.0)
    fitted = fit_scoring(COSINE, LabelledEmbeddings(rows, singers.astype(str)), "x")
    assert [fit.num_trials for fit in fitted.multi_enrolment] == [10 * 12 * (5000 // 120)] * 4  # drawn
