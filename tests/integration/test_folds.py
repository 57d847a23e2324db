"""A training for each fold, and one leaderboard over all singers."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.audio import MakeCorpus
from support.cli import call, refusal
from support.train_process import train

from singer_verify.corpora.corpus import read_corpora
from singer_verify.corpora.folds import divide_into_folds
from singer_verify.evaluation.metrics.verification import verify_all_pairs
from singer_verify.inference import load_model
from singer_verify.sweeps.comparison import build_leaderboard


@pytest.fixture
def sweep(make_corpus: MakeCorpus, tmp_path: Path) -> Path:
    """Three folds of six singers for a cell, and one fold of another cell."""
    root = make_corpus(train=4, val=2, utterances=3)
    for fold in (0, 1, 2):
        folder = f"hydra.run.dir={tmp_path}/sweep/fold{fold}"
        train(root, "data.folds=3", f"data.fold={fold}", folder, "trainer.max_steps=2", "trainer.val_check_interval=1")
    other = ("features=mel80", f"hydra.run.dir={tmp_path}/sweep/other", "trainer.max_steps=1")
    train(root, "data.folds=3", "data.fold=1", *other)
    return tmp_path / "sweep"


@pytest.mark.slow
def test_all_singers_are_judged_by_models_that_have_not_heard_them(sweep: Path, tmp_path: Path) -> None:
    (row,) = json.loads(call("leaderboard", sweep, "--json"))
    corpus = read_corpora([tmp_path / "corpus"], required=())
    embeddings, singers, blocks = [], [], []
    for fold in range(3):
        model = load_model(sweep / f"fold{fold}")
        for utterance in divide_into_folds(corpus, 3, fold).splits["test"].utterances:
            embeddings.append(model.embed(tmp_path / "corpus" / utterance.path))
            singers.append(utterance.singer)
            blocks.append(fold)
    numbers = np.unique(singers, return_inverse=True)[1]
    expected = verify_all_pairs(np.array(embeddings), numbers, np.array(blocks)).metrics
    assert row["eer"] == pytest.approx(expected["eer"].value, abs=1e-3)
    assert (row["num_singers"], row["split"], row["seeds"]) == (6, "folds", "1")
    board = (sweep / "leaderboard/leaderboard.md").read_text(encoding="utf-8")
    assert "Every singer is judged once" in board
    assert "seed 1 has not been trained for fold 0, 2" in board
    frames = [path for path in (tmp_path / "store").iterdir() if path.is_dir() and "-all-" in path.name]
    assert len(frames) == 2  # one for each recipe, whatever the fold


@pytest.mark.slow
def test_folds_are_further_seeds_on_another_corpus(sweep: Path, tmp_path: Path) -> None:
    board = build_leaderboard(sweep, None, "val", tmp_path / "corpus")
    (entry,) = board.entries
    assert len(entry.seed_eers) == 3
    assert board.num_singers == 2


@pytest.mark.slow
def test_runs_with_and_without_folds_are_not_compared(sweep: Path, tmp_path: Path) -> None:
    train(tmp_path / "corpus", "loss=ce", f"hydra.run.dir={sweep}/plain", "trainer.max_steps=1")
    assert "it has no folds of data.root" in refusal("leaderboard", sweep, "--baseline", "loss=ce")
