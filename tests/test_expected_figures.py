"""Stored scores have the figures that other programs found for them (tests/expected/figures.json says which)."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from singer_verify.evaluation.calibration import Calibration
from singer_verify.evaluation.conditions import Descriptions
from singer_verify.evaluation.judging import Evaluation, judge
from singer_verify.evaluation.likelihood_cost import cllr, min_cllr
from singer_verify.evaluation.metrics import equal_error_rate, min_dcf
from singer_verify.evaluation.scoring import Scoring, Sides
from singer_verify.evaluation.trials import Trials

EXPECTED = Path(__file__).parent / "expected"
FIGURES = json.loads((EXPECTED / "figures.json").read_text(encoding="utf-8"))
CALIBRATION = Calibration(1.7, -0.4, "the stored ratio")


def stored() -> tuple[np.ndarray, np.ndarray]:
    table = pd.read_csv(EXPECTED / "scores.csv")
    return table["score"].to_numpy(np.float64), table["is_target"].to_numpy() == 1


def test_metrics() -> None:
    scores, is_target = stored()
    found = {
        "eer": equal_error_rate(scores, is_target)[0],
        **{f"min_dcf_{prior}": min_dcf(scores, is_target, float(prior)) for prior in ("0.01", "0.05", "0.5")},
        "min_cllr": min_cllr(scores, is_target),
        "cllr": cllr(CALIBRATION.log_likelihood_ratio(scores), is_target),
    }
    assert found == pytest.approx({name: FIGURES[name] for name in found}, abs=1e-9)


class StoredScores(Scoring):
    """Gives each trial of a list its stored score: the number of its left utterance is its place in the file."""

    def sides(self, embeddings: np.ndarray) -> Sides:
        return Sides(embeddings)

    def pair_scores(self, left: Sides, right: Sides) -> np.ndarray:
        scores, _ = stored()
        return scores[left.rows[:, 0].astype(np.int64)]


def test_judgement() -> None:
    """Trial i is utterance i, of singer 0 or 1, against one of singer 0."""
    _, is_target = stored()
    num_trials = len(is_target)
    rows = np.column_stack([np.arange(num_trials + 1), np.ones(num_trials + 1)]).astype(np.float64)
    singer_index = np.append(np.where(is_target, 0, 1), 0)
    trials = Trials(np.arange(num_trials), np.full(num_trials, num_trials), is_target)
    scoring = StoredScores(calibration=CALIBRATION)
    evaluation = Evaluation(scoring, trials, num_enrolment=num_trials, num_resamples=20)
    figures = judge(rows, singer_index, Descriptions({}), evaluation).figures
    wanted = {name: value for name, value in FIGURES.items() if name in figures}
    assert len(wanted) == 8
    assert {name: figures[name].value for name in wanted} == pytest.approx(wanted, abs=1e-9)
