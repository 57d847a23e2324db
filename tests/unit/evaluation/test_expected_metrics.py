"""Stored scores have the figures that other programs found for them (tests/expected/figures.json says which)."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from singer_verify.evaluation.conditions import UtteranceMetadata
from singer_verify.evaluation.evaluate import EvaluationSettings, evaluate
from singer_verify.evaluation.metrics.cllr import compute_cllr, compute_min_cllr
from singer_verify.evaluation.metrics.error_rates import compute_eer, compute_min_dcf
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.scoring import Scoring, TrialEmbeddings
from singer_verify.evaluation.trials.trial_list import Trials

EXPECTED = Path(__file__).parent / "expected"
FIGURES = json.loads((EXPECTED / "figures.json").read_text(encoding="utf-8"))
CALIBRATION = Calibration(1.7, -0.4, "the stored ratio")


def stored() -> tuple[np.ndarray, np.ndarray]:
    table = pd.read_csv(EXPECTED / "scores.csv")
    return table["score"].to_numpy(np.float64), table["is_target"].to_numpy() == 1


def test_metrics() -> None:
    scores, is_target = stored()
    metrics = {
        "eer": compute_eer(scores, is_target)[0],
        **{f"min_dcf_{prior}": compute_min_dcf(scores, is_target, float(prior)) for prior in ("0.01", "0.05", "0.5")},
        "min_cllr": compute_min_cllr(scores, is_target),
        "cllr": compute_cllr(CALIBRATION.log_likelihood_ratio(scores), is_target),
    }
    assert metrics == pytest.approx({name: FIGURES[name] for name in metrics}, abs=1e-9)


class StoredScores(Scoring):
    """Gives each trial of a list its stored score: the number of its left utterance is its place in the file."""

    def prepare_embeddings(self, embeddings: np.ndarray, domains: object = None) -> TrialEmbeddings:
        return TrialEmbeddings(embeddings)

    def compute_pair_scores(self, left: TrialEmbeddings, right: TrialEmbeddings) -> np.ndarray:
        scores, _ = stored()
        return scores[left.embeddings[:, 0].astype(np.int64)]


def test_evaluation() -> None:
    """Trial i is utterance i, of singer 0 or 1, against one of singer 0."""
    _, is_target = stored()
    num_trials = len(is_target)
    rows = np.column_stack([np.arange(num_trials + 1), np.ones(num_trials + 1)]).astype(np.float64)
    singer_index = np.append(np.where(is_target, 0, 1), 0)
    trials = Trials(np.arange(num_trials), np.full(num_trials, num_trials), is_target)
    scoring = StoredScores(calibration=CALIBRATION)
    evaluation = EvaluationSettings(scoring, trials, num_enrolment=num_trials, num_resamples=20)
    figures = evaluate(rows, singer_index, UtteranceMetadata({}), evaluation).metrics
    wanted = {name: value for name, value in FIGURES.items() if name in figures}
    assert len(wanted) == 8
    assert {name: figures[name].value for name in wanted} == pytest.approx(wanted, abs=1e-9)
