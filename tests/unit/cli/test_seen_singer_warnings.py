"""What `evaluate` says of singers whom the model, its best step or its threshold is from, wherever the files lie."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.cli import call
from support.tiny_run import make_corpus, run, tiny

from singer_verify.runs.checkpoints import read_checkpoint
from singer_verify.runs.folder import find_run_folder
from singer_verify.runs.model_metadata import METADATA_KEY

CHOSEN = "The best step of the model was chosen on exactly these singers"
AT_THRESHOLD = ["miss_at_threshold", "false_alarm_at_threshold"]
ACTUAL = ["actual_dcf_0.01", "actual_dcf_0.05", "actual_dcf_0.5"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a model was trained on `corpus`, named by a relative path; and a corpus of other singers."""
    folder = tmp_path_factory.mktemp("home")
    corpus = make_corpus(folder / "corpus", num_val=4)
    other = shutil.copytree(corpus, folder / "other")
    for path in sorted(other.rglob("*.npy")):
        np.save(path, np.load(path) + 0.5)
    settings = [override for override in tiny(corpus) if not override.startswith("data.root=")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(patch, *settings, "data.root=corpus", folder=folder / "run")
    return folder


def evaluate_split(model: Path, corpus: Path, *options: object) -> dict[str, Any]:
    return json.loads(call("evaluate", model, corpus, "--json", "--resamples", 20, *options))


@pytest.mark.slow
def test_the_choice_of_the_best_step_is_said_wherever_the_files_lie(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = Path(shutil.copy(home / "run/checkpoints/best.ckpt", tmp_path / "alone.ckpt"))
    moved = shutil.copytree(home / "corpus", tmp_path / "moved")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "feat_params.yaml").symlink_to(home / "corpus/feat_params.yaml")
    (linked / "test").symlink_to(home / "corpus/val")
    monkeypatch.chdir(tmp_path)
    for model in (home / "run", home / "run/saved_model.pt", alone):
        for corpus, split in ((home / "corpus", "val"), (moved, "val"), (linked, "test")):
            record = evaluate_split(model, corpus, "--split", split)
            assert record["seen_singers"]["model_selection"] == {
                "num_singers": 4,
                "num_recognised": 4,
                "num_namesakes": 0,
            }
            assert any(remark.startswith(CHOSEN) for remark in record["remarks"])
            assert record["seen_singers"]["training"] == {"num_singers": 4, "num_recognised": 0, "num_namesakes": 0}
    assert CHOSEN in " ".join(call("evaluate", home / "run", moved, "--resamples", 20).split())


def test_singers_of_the_training_are_said(home: Path, tmp_path: Path) -> None:
    record = evaluate_split(home / "run", home / "corpus", "--split", "train")
    assert record["seen_singers"]["training"] == {"num_singers": 5, "num_recognised": 5, "num_namesakes": 0}
    assert any(remark.startswith("The model was trained on exactly these singers") for remark in record["remarks"])
    printed = call("evaluate", home / "run", home / "corpus", "--split", "train", "--out", tmp_path / "report")
    assert "The model was trained on exactly these singers" in printed
    assert "The model was trained on exactly these singers" in (tmp_path / "report/report.html").read_text()
    call("card", home / "run", "--evaluation", tmp_path / "report/evaluation.json", "--out", tmp_path / "card.md")
    assert "The model was trained on exactly these singers" in (tmp_path / "card.md").read_text()


@pytest.mark.slow
def test_singers_of_the_parents_training_are_said_too(home: Path, tmp_path: Path) -> None:
    """Also after the child was stopped and continued, when its parent is not read any more."""
    settings = [*tiny(home / "other"), f"init_from={home / 'run'}", f"data.store_root={tmp_path / 'store'}"]
    with pytest.MonkeyPatch.context() as patch:
        child = run(patch, *settings, folder=tmp_path / "child")
        run(patch, f"resume={child}", "trainer.max_steps=16", folder=child)
    for model in ("checkpoints/last.ckpt", "saved_model.pt"):
        record = evaluate_split(child / model, home / "corpus", "--split", "train")
        assert record["seen_singers"]["training"]["num_recognised"] == 5
        assert evaluate_split(child / model, home / "corpus")["seen_singers"]["model_selection"]["num_recognised"] == 0


def test_a_name_alone_may_be_chance(home: Path) -> None:
    record = evaluate_split(home / "run", home / "other", "--split", "train")
    assert record["seen_singers"]["training"] == {"num_singers": 5, "num_recognised": 0, "num_namesakes": 5}
    (remark,) = record["remarks"]
    assert remark.startswith(
        "5 of 5 singers have the names of singers the model was trained on. This may be coincidence"
    )
    assert record["fitted_metrics"] == []


def test_a_threshold_of_the_training_is_not_known_before_on_its_own_singers(home: Path) -> None:
    assert evaluate_split(home / "run", home / "corpus")["fitted_metrics"] == [*AT_THRESHOLD, *ACTUAL]
    assert evaluate_split(home / "run", home / "corpus", "--split", "train")["fitted_metrics"] == []
    given = evaluate_split(home / "run", home / "corpus", "--threshold", 0.5)
    assert given["fitted_metrics"] == []
    assert "threshold" not in given["seen_singers"]
    printed = call("evaluate", home / "run", home / "corpus", "--resamples", 20)
    assert "misses at the given threshold (fitted to singers evaluated here)" in printed
    assert "EER (fitted" not in printed


def test_a_calibration_is_not_known_before_on_its_own_singers(home: Path, tmp_path: Path) -> None:
    scoring = tmp_path / "scoring.npz"
    call("calibrate", home / "run", home / "other", "--out", scoring)
    record = evaluate_split(home / "run", home / "other", "--scoring", scoring)
    assert sorted(record["fitted_metrics"]) == sorted([*AT_THRESHOLD, *ACTUAL, "cllr"])
    assert any(remark.startswith("The calibration was fitted to exactly these singers") for remark in record["remarks"])
    record = evaluate_split(home / "run", home / "other", "--split", "train", "--scoring", scoring)
    assert record["fitted_metrics"] == []
    assert "calibration" in record["seen_singers"]
    assert not any("calibration" in remark for remark in record["remarks"])
    record = evaluate_split(home / "run", home / "other", "--scoring", scoring, "--threshold", 0.5)
    assert sorted(record["fitted_metrics"]) == sorted([*ACTUAL, "cllr"])


def test_the_cohorts_own_singers_are_said(home: Path, tmp_path: Path) -> None:
    scoring = tmp_path / "scoring.npz"
    call("calibrate", home / "run", home / "other", "--project", "centre", "--out", scoring)
    record = evaluate_split(home / "run", home / "other", "--split", "train", "--scoring", scoring)
    assert record["seen_singers"]["cohort"]["num_recognised"] == 5
    assert any(
        remark.startswith("Projection and cohort were computed from exactly these singers")
        for remark in record["remarks"]
    )


def test_calibrating_on_singers_of_the_training_is_said(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        call("calibrate", home / "run", home / "corpus", "--split", "train", "--out", tmp_path / "a.npz")
    assert "The model was trained on exactly these singers, as the recordings show" in caplog.text


def test_of_what_is_not_recorded_nothing_is_claimed(home: Path, tmp_path: Path) -> None:
    """As in a checkpoint of imported weights."""
    earlier = read_checkpoint(home / "run/checkpoints/best.ckpt")
    earlier[METADATA_KEY] |= {"recordings": {}, "val_singers": []}
    torch.save(earlier, tmp_path / "earlier.ckpt")
    record = evaluate_split(tmp_path / "earlier.ckpt", home / "corpus")
    assert record["seen_singers"]["model_selection"] is record["seen_singers"]["threshold"] is None
    assert record["seen_singers"]["training"]["num_namesakes"] == 0
    said = ["the best step of the model was chosen on", "the threshold was fitted to"]
    assert record["remarks"] == [
        f"Which singers {action} is not recorded: they may be among those evaluated here." for action in said
    ]
    earlier[METADATA_KEY]["train_singers"] = []
    torch.save(earlier, tmp_path / "earlier.ckpt")
    assert evaluate_split(tmp_path / "earlier.ckpt", home / "corpus")["seen_singers"]["training"] is None


def test_a_model_knows_its_run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = home / "run"
    for name in (".", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "saved_model.pt"):
        assert find_run_folder(trained / name) == trained, name
    (tmp_path / "link.ckpt").symlink_to(trained / "checkpoints/best.ckpt")
    assert find_run_folder(tmp_path / "link.ckpt") == trained
    monkeypatch.chdir(trained / "checkpoints")
    assert find_run_folder(Path("best.ckpt")) == trained
    monkeypatch.chdir(home)
    assert find_run_folder(Path("run/saved_model.pt")) == Path("run")
    for name in ("alone.ckpt", "saved_model.pt"):
        shutil.copy(trained / "saved_model.pt", tmp_path / name)
        assert find_run_folder(tmp_path / name) is None
    (trained / "evaluation").mkdir(exist_ok=True)
    assert find_run_folder(Path(shutil.copy(trained / "checkpoints/best.ckpt", trained / "evaluation/a.ckpt"))) is None
    assert find_run_folder(home) is None
