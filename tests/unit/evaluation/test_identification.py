"""Identification: slow loops as oracles, models whose figures are known, what is left out and refused."""

import time

import numpy as np
import pytest

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.averaging import average_by_group
from singer_verify.evaluation.metrics import identification as identification_module
from singer_verify.evaluation.metrics import identification as normalised_rank_module
from singer_verify.evaluation.metrics.identification import compute_identification_metrics, compute_normalised_ranks
from singer_verify.evaluation.scoring.enrolment import draw_enrolment
from singer_verify.evaluation.scoring.normalisation import Cohort
from singer_verify.evaluation.scoring.scoring import COSINE, Scoring, TrialEmbeddings


def sung(num_singers: int, num_each: int, dims: int = 8, spread: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    singers = np.repeat(np.arange(num_singers), num_each)
    rows = generator.normal(size=(num_singers, dims))[singers] + spread * generator.normal(size=(len(singers), dims))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), singers


def shuffled(rows: np.ndarray, singers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(1).permutation(len(rows))
    return rows[order], singers[order]


def test_enrolled_mean_is_of_unit_length_and_worked_by_hand() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    np.testing.assert_allclose(average_by_group(rows, np.array([1, 1, 0])), [[0.6, 0.8], [0.5**0.5, 0.5**0.5]])
    rows, singers = sung(4, 5)
    np.testing.assert_array_equal(average_by_group(rows[::5], np.arange(4)), rows[::5])  # of one utterance: itself
    expected = [rows[singers == singer].mean(axis=0) for singer in range(4)]
    expected = [mean / np.linalg.norm(mean) for mean in expected]
    np.testing.assert_allclose(average_by_group(*shuffled(rows, singers)), expected, atol=1e-6)


def test_enrolment_is_drawn_by_seed_and_as_many_for_each_singer() -> None:
    singers = np.random.default_rng(0).integers(6, size=90)
    drawn = draw_enrolment(singers, 3, 0)
    assert np.bincount(singers[drawn]).tolist() == [3] * 6
    np.testing.assert_array_equal(drawn, draw_enrolment(singers, 3, 0))
    assert (drawn != draw_enrolment(singers, 3, 1)).any()
    chosen = sum(draw_enrolment(singers, 3, seed) for seed in range(400)) / 400.0
    expected = 3 / np.bincount(singers)[singers]
    np.testing.assert_allclose(chosen, expected, atol=0.12)  # every utterance of a singer as likely
    with pytest.raises(SingerVerifyError, match="num_enrolment=0"):
        draw_enrolment(singers, 0, 0)


@pytest.mark.parametrize("with_cohort", [False, True])
@pytest.mark.parametrize("num_enrolment", [1, 3])
def test_accuracies_equal_a_slow_loop(num_enrolment: int, with_cohort: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identification_module, "MAX_IDENTIFICATION_SCORES_PER_BLOCK", 50)  # seven queries at once
    rows, singers = shuffled(*sung(7, 6))
    scoring = Scoring(cohort=Cohort(sung(5, 5)[0][:, ::-1].copy(), 6)) if with_cohort else COSINE
    metrics = compute_identification_metrics(
        scoring.prepare_embeddings(rows), singers, scoring, num_enrolment, 50, seed=3
    )
    is_enrolled = draw_enrolment(singers, num_enrolment, 3)
    gallery = []
    for singer in range(7):
        mean = rows[is_enrolled & (singers == singer)].mean(axis=0)
        gallery.append(scoring.prepare_embeddings((mean / np.linalg.norm(mean))[None]))
    ranks = []
    for query in np.flatnonzero(~is_enrolled):
        scores = [
            float(scoring.compute_score_matrix(scoring.prepare_embeddings(rows[query][None]), side)[0, 0])
            for side in gallery
        ]
        ranks.append(sorted(range(7), key=lambda singer: -scores[singer]).index(singers[query]))
    for top in (1, 5):
        estimate = metrics[f"top_{top}"]
        assert estimate.value == pytest.approx(np.mean(np.array(ranks) < top))
        assert estimate.low <= estimate.value <= estimate.high
    assert 0.3 < metrics["top_1"].value < metrics["top_5"].value <= 1.0


@pytest.mark.parametrize("decimals", [8, 1])  # 1: equal scores
def test_mean_normalised_rank_equals_a_slow_loop(decimals: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalised_rank_module, "MAX_RANK_SCORES_PER_BLOCK", 100)  # three queries at once
    rows, singers = shuffled(*sung(5, 6, spread=1.5))
    rows = np.round(rows, decimals)
    ranks = []
    for query in range(len(rows)):
        for own in np.flatnonzero(singers == singers[query]):
            if own != query:
                score, others = rows[query] @ rows[own], rows[singers != singers[query]] @ rows[query]
                is_equal = np.isclose(others, score, atol=1e-6)
                ranks.append(((others > score) & ~is_equal).sum() + 0.5 * is_equal.sum())
    estimate = compute_identification_metrics(TrialEmbeddings(rows), singers, COSINE, 1, 100)["mean_normalised_rank"]
    assert estimate.value == pytest.approx(np.mean(ranks) / (24 + 1), abs=1e-3 if decimals == 1 else 1e-6)
    assert estimate.low <= estimate.value <= estimate.high


def test_rank_is_the_mean_over_the_draws_of_its_source() -> None:
    """One utterance of the singer among some of others, drawn, ranked by score and divided by their number."""
    rows, singers = sung(6, 8, spread=1.5)
    generator = np.random.default_rng(0)
    ranks = []
    for _ in range(20_000):
        query = generator.integers(len(rows))
        own = generator.choice(np.flatnonzero((singers == singers[query]) & (np.arange(len(rows)) != query)))
        others = generator.choice(np.flatnonzero(singers != singers[query]), 30, replace=False)
        scores = rows[[own, *others]] @ rows[query]
        ranks.append(np.flatnonzero(np.argsort(-scores) == 0)[0] / 31)
    rank = compute_identification_metrics(TrialEmbeddings(rows), singers, COSINE, 1, 10)["mean_normalised_rank"].value
    assert rank * (41 / 40) == pytest.approx(np.mean(ranks) * (31 / 30), abs=0.01)


def test_resampled_ranks_are_those_of_repeated_singers() -> None:
    rows, singers = sung(4, 3, spread=1.5)
    ranks = compute_normalised_ranks(TrialEmbeddings(rows), singers, COSINE, 0)
    counts = np.array([2, 0, 1, 1])
    total, weight = 0.0, 0
    for query in range(12):
        for own in np.flatnonzero(singers == singers[query]):
            if own == query:
                continue
            others = [
                rows[query] @ rows[utterance] > rows[query] @ rows[own]
                for utterance in range(12)
                if singers[utterance] != singers[query]
                for _ in range(counts[singers[utterance]])
            ]
            total += counts[singers[query]] * sum(others) / (len(others) + 1)
            weight += counts[singers[query]]
    assert ranks.compute_mean_rank(counts[None].astype(float))[0] == pytest.approx(total / weight)


def test_perfect_useless_and_inverted_models() -> None:
    singers = np.repeat(np.arange(8), 4)
    perfect = compute_identification_metrics(TrialEmbeddings(np.eye(8)[singers]), singers, COSINE, 2, 50)
    assert {name: estimate.value for name, estimate in perfect.items()} == {
        "top_1": 1.0,
        "top_5": 1.0,
        "mean_normalised_rank": 0.0,
    }
    useless = compute_identification_metrics(TrialEmbeddings(np.tile(np.eye(8)[0], (32, 1))), singers, COSINE, 2, 50)
    assert useless["top_1"].value == pytest.approx(1 / 8)
    assert useless["top_5"].value == pytest.approx(5 / 8)
    assert useless["mean_normalised_rank"].value == pytest.approx(14 / 29)  # the middle of 28, divided by 29


def test_more_enrolment_helps() -> None:
    rows, singers = sung(30, 12, spread=1.0)
    one, ten = (
        compute_identification_metrics(TrialEmbeddings(rows), singers, COSINE, number, 20)["top_1"].value
        for number in (1, 10)
    )
    assert ten > one + 0.1


def test_what_cannot_be_told_is_left_out() -> None:
    def names(singers: list[int], num_enrolment: int) -> set[str]:
        rows = np.eye(len(singers))
        return set(compute_identification_metrics(TrialEmbeddings(rows), np.array(singers), COSINE, num_enrolment, 20))

    assert names([0, 0, 1, 1], 1) == {"top_1", "mean_normalised_rank"}  # five of two are all
    assert names([0, 0, 1, 1], 2) == {"mean_normalised_rank"}
    assert names([0, 0, 1], 1) == {"mean_normalised_rank"}  # the second singer cannot be enrolled and looked for
    assert names([0, 0, 0], 1) == names([0, 1, 2], 1) == set()
    assert "top_5" not in names([0, 0, 1, 1, 2, 2, 3, 3, 4, 4], 1)
    assert "top_5" in names([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5], 1)


def test_thousands_of_utterances_take_seconds() -> None:
    rows, singers = sung(200, 30, dims=32)
    start = time.perf_counter()
    figures = compute_identification_metrics(TrialEmbeddings(rows), singers, COSINE, 5, 200)
    assert time.perf_counter() - start < 10
    assert len(figures) == 3
