"""Singers known from several recordings, scored by the mean, the best, or the best three of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.cli import refusal

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.averaging import average_embeddings
from singer_verify.evaluation.metrics.identification import compute_identification_metrics
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.enrolment import SingerModels, compute_singer_scores, draw_gallery
from singer_verify.evaluation.scoring.fitting import LabelledEmbeddings, fit_scoring
from singer_verify.evaluation.scoring.normalisation import Cohort
from singer_verify.evaluation.scoring.projection import fit_whitening
from singer_verify.evaluation.scoring.scoring import COSINE, MultiEnrolmentCalibration, Scoring, Threshold
from singer_verify.evaluation.trials.blocks import TrialListSource, build_test_trials
from singer_verify.evaluation.trials.trial_list import Trials
from singer_verify.inference.enrolment import EnrolledRecording, build_enrolled_singers
from singer_verify.inference.identification import rank_candidates
from singer_verify.inference.scoring_file import load_scoring, save_scoring

SINGERS = np.repeat(np.arange(6), 8)


@pytest.fixture
def rows() -> np.ndarray:
    """Six singers, each with two ways to sing that lie apart."""
    generator = np.random.default_rng(0)
    ways = generator.standard_normal((6, 2, 12))
    rows = np.concatenate([ways[singer, np.arange(8) % 2] for singer in range(6)])
    rows = rows + 0.7 * generator.standard_normal(rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def score_slowly(scoring: Scoring, query: np.ndarray, recordings: np.ndarray) -> float:
    """The score of one query against one singer, recording by recording."""
    sides = scoring.prepare_embeddings(recordings)
    side = scoring.prepare_embeddings(query[None])
    if scoring.enrolment_score == "mean":
        mean = scoring.prepare_projected(average_embeddings(sides.embeddings)[None])
        return float(scoring.compute_pair_scores(side, mean)[0])
    scores = sorted(float(scoring.compute_pair_scores(side, sides[n : n + 1])[0]) for n in range(len(recordings)))
    best = scores[-1:] if scoring.enrolment_score == "max" else scores[-3:]
    return sum(best) / len(best)


@pytest.mark.parametrize("name", ["mean", "max", "best3"])
@pytest.mark.parametrize("is_normalised", [False, True])
def test_scores_equal_those_of_a_slow_loop(rows: np.ndarray, name: str, is_normalised: bool) -> None:
    scoring = COSINE
    if is_normalised:
        scoring = Scoring(fit_whitening(rows), Cohort(fit_whitening(rows)(rows[::5])))
    scoring = scoring.with_enrolment_score(name)
    counts = (1, 2, 3, 5)
    enrolled = [
        EnrolledRecording(f"s{singer}", f"{n}", f"{singer} {n}", rows[8 * singer + n])
        for n in range(max(counts))
        for singer, count in enumerate(counts)
        if n < count
    ]
    identified = rank_candidates(scoring, build_enrolled_singers(enrolled, scoring), rows[7], None, ())
    assert {candidate.singer: candidate.score for candidate in identified.candidates} == {
        f"s{singer}": pytest.approx(score_slowly(scoring, rows[7], rows[8 * singer : 8 * singer + count]), abs=1e-5)
        for singer, count in enumerate(counts)
    }
    drawn = draw_gallery(scoring.prepare_embeddings(rows), SINGERS, scoring, 4, seed=1)
    is_enrolled = np.ones(len(rows), bool)
    is_enrolled[drawn.queries] = False
    scores = compute_singer_scores(
        scoring, scoring.prepare_embeddings(rows[drawn.queries]), drawn.singers, drawn.groups
    )
    assert scores.shape == (24, drawn.num_singers) == (24, 6)
    for row, query in enumerate(drawn.queries[:6].tolist()):
        for singer in range(6):
            members = rows[is_enrolled & (singer == SINGERS)]
            assert scores[row, singer] == pytest.approx(score_slowly(scoring, rows[query], members), abs=1e-5)


@pytest.mark.parametrize("name", ["max", "best3"])
@pytest.mark.parametrize("are_tests_others", [False, True])
def test_singers_of_a_trial_list_are_scored_without_the_recording_left_out(
    rows: np.ndarray, name: str, are_tests_others: bool
) -> None:
    scoring = COSINE.with_enrolment_score(name)
    tests = rows[::-1] if are_tests_others else rows
    few = np.arange(len(rows)) % 8 < 3  # a singer may have two recordings left
    rows, tests, singers = rows[few], tests[few], SINGERS[few]
    pairs = [(singer, utterance) for utterance in range(len(rows)) for singer in range(6)]
    left_out = [utterance if singers[utterance] == singer else -1 for singer, utterance in pairs]
    models = SingerModels(np.array([singer for singer, _ in pairs]), np.array(left_out), np.full(len(pairs), 2))
    places, utterances = len(rows) + np.arange(len(pairs)), np.array([utterance for _, utterance in pairs])
    is_target = np.array(left_out) >= 0
    trials = Trials(places, utterances, is_target, models)
    sides = scoring.prepare_embeddings(np.concatenate([rows, np.zeros((len(pairs), rows.shape[1]), np.float32)]))
    everyone = np.concatenate([singers, models.singer_index])
    if are_tests_others:
        trials = build_test_trials(trials, len(rows), len(sides))
        sides = sides.join(scoring.prepare_embeddings(tests))
        everyone = np.concatenate([everyone, singers])
    source = TrialListSource(sides, everyone, scoring, trials, first_model=len(rows))
    num_trials = 0
    for singer in range(6):
        for block in (*source.iterate_blocks(singer, True), *source.iterate_blocks(singer, False)):
            for model, other, score in zip(block.left, block.right, np.ravel(block.scores), strict=True):
                utterance = int(other) % (len(rows) + len(pairs))
                is_member = singers == models.singer_index[model - len(rows)]
                is_member[utterance] &= not block.is_target
                assert score == pytest.approx(score_slowly(scoring, tests[utterance], rows[is_member]), abs=1e-5)
                num_trials += 1
    assert num_trials == len(pairs)


def test_each_way_has_its_own_calibration(rows: np.ndarray, tmp_path: Path) -> None:
    labelled = LabelledEmbeddings(rows, SINGERS.astype(str))
    fitted = {
        name: fit_scoring(COSINE.with_enrolment_score(name), labelled, "x").scoring for name in ("mean", "max", "best3")
    }
    thresholds = {name: scoring.with_enrolment_size(5).threshold for name, scoring in fitted.items()}
    assert len(set(thresholds.values())) == 3
    assert len({scoring.with_enrolment_size(1).threshold for scoring in fitted.values()}) == 1
    for name, scoring in fitted.items():
        save_scoring(tmp_path / f"{name}.npz", scoring, "f" * 64)
        loaded = load_scoring(tmp_path / f"{name}.npz", "f" * 64)
        assert (loaded.enrolment_score, loaded.multi_enrolment) == (name, scoring.multi_enrolment)
        with np.load(tmp_path / f"{name}.npz") as stored:
            assert f'"version": {2 if name == "mean" else 4}' in str(stored["header"])
    other = fitted["max"].with_enrolment_score("mean")
    assert (other.enrolment_score, other.multi_enrolment) == ("mean", ())
    assert other.calibration == fitted["max"].calibration
    assert fitted["max"].with_enrolment_score("max") is fitted["max"]


def test_the_best_recording_finds_singers_of_two_ways(rows: np.ndarray) -> None:
    found = {
        name: compute_identification_metrics(
            COSINE.prepare_embeddings(rows), SINGERS, COSINE.with_enrolment_score(name), 4, 20
        )["top_1"].value
        for name in ("mean", "max")
    }
    assert found["max"] >= found["mean"]


def test_a_remark_says_which_scores_were_not_calibrated(rows: np.ndarray) -> None:
    two = MultiEnrolmentCalibration(2, Calibration(2.0, 0.0, "x"), Threshold(0.4, "x"))
    scoring = replace(COSINE, threshold=Threshold(0.5, "pairs"), multi_enrolment=(two,))
    enrolled = [EnrolledRecording("anna", f"{n}", f"{n}", rows[n]) for n in range(3)]
    for name, said in (
        ("max", "the best of several scores higher"),
        ("best3", "the mean of the best three of several"),
    ):
        other = scoring.with_enrolment_score(name)
        identified = rank_candidates(other, build_enrolled_singers(enrolled, other), rows[4], None, ())
        assert said in identified.remarks[-1]
    assert rank_candidates(scoring, build_enrolled_singers(enrolled, scoring), rows[4], None, ()).remarks == ()


def test_an_unknown_way_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SingerVerifyError, match="enrolment_score=best: expected one of mean, max, best3"):
        COSINE.with_enrolment_score("best")
    said = refusal("calibrate", tmp_path / "model.ckpt", tmp_path, "--enrolment-score", "median")
    assert said == "--enrolment-score=median: expected one of mean, max, best3."
