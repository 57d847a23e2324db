"""Trainings on several numbers of singers for each fold, and their learning curve."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.cli import call
from support.tiny_run import make_corpus, run, tiny

from singer_verify.inference import load_model
from singer_verify.sweeps.comparison import read_compared_cells
from singer_verify.sweeps.judged_runs import load_judged_runs

SIZES = (2, 3, None)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three folds of twelve singers, trained on two, three and all four of the others."""
    place = tmp_path_factory.mktemp("data_size")
    corpus = make_corpus(place / "corpus", num_train=9, num_val=3)
    with pytest.MonkeyPatch.context() as monkeypatch:
        for size in SIZES:
            for fold in range(3):
                limits = (f"data.max_singers={'null' if size is None else size}", "loss=ge2e+ce", "trainer.max_steps=4")
                folds = ("data.folds=3", f"data.fold={fold}")
                run(monkeypatch, *tiny(corpus), *limits, *folds, folder=place / f"sweep/{size}-{fold}")
    return place / "sweep"


@pytest.mark.slow
def test_judged_singers_are_in_no_training_whatever_its_size(sweep: Path) -> None:
    judged = load_judged_runs(read_compared_cells(sweep)[0], None, None)
    assert len(set(next(iter(judged.embeddings.values())).singers.tolist())) == 12
    seen = {}
    for path, embeddings in judged.run_embeddings.items():
        checkpoint = load_model(path).checkpoint
        assert checkpoint is not None
        seen[Path(path).name] = set(checkpoint.metadata.train_singers)
        assert seen[Path(path).name].isdisjoint(embeddings.singers.tolist())
    for fold in range(3):
        assert seen[f"2-{fold}"] < seen[f"3-{fold}"] < seen[f"None-{fold}"]
        judged_twice = [set(judged.run_embeddings[str(sweep / f"{size}-{fold}")].singers.tolist()) for size in SIZES]
        assert judged_twice[0] == judged_twice[1] == judged_twice[2]


@pytest.mark.slow
def test_the_curve_shows_the_rates_of_the_leaderboard(sweep: Path, tmp_path: Path) -> None:
    records = json.loads(call("learning-curve", sweep, "--json", "--out", tmp_path / "curve"))
    baseline = ("--baseline", "data.max_singers=null", "--out", tmp_path / "board")
    exported = ("--export-results", tmp_path / "exported")
    rows = {row["cell"]: row for row in json.loads(call("leaderboard", sweep, "--json", *baseline, *exported))}
    assert [point["num_singers"] for point in records["points"]] == [2, 3, 4]
    for point, size in zip(records["points"], SIZES, strict=True):
        row = rows[f"data.max_singers={'null' if size is None else size}"]
        assert point["eer"] == pytest.approx(row["eer"], abs=1e-6)
        assert point["eer_low"] == pytest.approx(row["eer_low"], abs=0.01)
    assert records["split"] == "folds"
    assert records["fits"][0]["num_sizes"] == 3
    assert np.isfinite(records["fits"][0]["slope"])
    assert json.loads(call("learning-curve", tmp_path / "exported", "--json")) == records
