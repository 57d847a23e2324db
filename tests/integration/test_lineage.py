"""Trainings that begin with another run's weights: folders, what is taken, what is frozen, and the tree they make."""

import hashlib
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.train_process import build, train
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.cli.console import report_user_errors
from singer_verify.encoders.encoder import freeze, group_parameters_by_part
from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.features.recipe import canonical_recipe
from singer_verify.runs.checkpoints import read_checkpoint
from singer_verify.runs.model_metadata import METADATA_KEY
from singer_verify.training.composition import build_job_folder_name, build_run_path
from singer_verify.training.fine_tuning import ParentCheckpoint


def write_ready_corpus(root: Path, train_singers: str, bins: int = 6) -> Path:
    generator = np.random.default_rng(0)
    for split, singers in (("train", train_singers), ("val", "xyz")):
        for singer in singers:
            folder = root / split / f"singer_{singer}"
            folder.mkdir(parents=True)
            for utterance in range(3):
                np.save(folder / f"{utterance}.npy", generator.random((40 + utterance, bins)))
    (root / "feat_params.yaml").write_text(f"num_feats: {bins}\nsr: 16000\nhop_size: 160\n")
    return root


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ready_corpus(tmp_path_factory.mktemp("data") / "corpus", "abc")


@pytest.fixture(scope="module")
def other_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ready_corpus(tmp_path_factory.mktemp("data") / "other", "abd")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def base(corpus: Path, runs: Path) -> Path:
    return train(corpus, f"hydra.run.dir={runs}/base", "loss=ge2e+ce")


@pytest.fixture(scope="module")
def child(base: Path, corpus: Path) -> Path:
    return train(corpus, f"init_from={base}", "name=child", "loss=ge2e+ce", "freeze=[lstm.0]")


@pytest.fixture(scope="module")
def grandchild(child: Path, other_corpus: Path) -> Path:
    return train(other_corpus, f"init_from={child}/checkpoints/last.ckpt", "name=grandchild", "loss=ge2e")


def sentence_of(action: Callable[[], Any], capsys: pytest.CaptureFixture[str]) -> str:
    """What an entry would print of the mistake."""
    with pytest.raises(SystemExit), report_user_errors(Exception):
        action()
    return capsys.readouterr().err


def test_a_run_lies_inside_its_parent(tmp_path: Path) -> None:
    parent = tmp_path / "base"
    (parent / "checkpoints").mkdir(parents=True)
    (parent / "run.json").touch()
    assert build_run_path(None, "first") == "runs/first"
    for given in (parent, parent / "checkpoints/last.ckpt", parent / "saved_model.pt"):
        assert build_run_path(str(given), "tuned") == str(parent / "tuned")
    assert build_run_path(str(tmp_path / "alone.ckpt"), "tuned") == "runs/tuned"


@pytest.mark.parametrize("name", ["../../x", "a/../../x", "/tmp/x", "..", "", "checkpoints", "checkpoints/x"])
def test_a_name_cannot_leave_its_folder(name: str, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = sentence_of(lambda: train(corpus, f"name='{name}'"), capsys)
    assert said.startswith(f"error: name={name}: expected the name of a folder inside runs, other than checkpoints.")


def test_a_run_of_a_sweep_stays_in_the_sweeps_folder() -> None:
    name = build_job_folder_name("data.root=../../../x,loss=ge2e+ce")
    assert re.fullmatch(r"data\.root-\.\.-\.\.-\.\.-x_loss-ge2e\+ce-[0-9a-f]{8}", name)


def test_three_levels_of_folders(base: Path, child: Path, grandchild: Path) -> None:
    assert child == base / "child"
    assert grandchild == base / "child/grandchild"
    assert (grandchild / "checkpoints/best.ckpt").is_file()


def test_run_json_names_the_parent(base: Path, child: Path, grandchild: Path) -> None:
    parent = json.loads((child / "run.json").read_text())["parent"]
    checkpoint = base / "checkpoints/best.ckpt"
    assert (child / parent["checkpoint"]).resolve() == checkpoint.resolve()
    assert parent["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert parent["step"] == json.loads((base / "metrics.json").read_text())["best"]["step"]
    assert (parent["taken"], parent["dropped"]) == (["encoder", "ge2e", "ce"], [])
    parent = json.loads((grandchild / "run.json").read_text())["parent"]
    assert parent["step"] == read_checkpoint(child / "checkpoints/last.ckpt")["global_step"]
    assert (parent["taken"], parent["dropped"]) == (["encoder", "ge2e"], ["ce"])
    assert json.loads((base / "run.json").read_text())["parent"] is None


def test_a_child_begins_where_its_parent_was_best(base: Path, child: Path) -> None:
    first, then = (json.loads((run / "metrics.json").read_text()) for run in (base, child))
    assert then["untrained"]["step"] == 0
    for name in ("val/eer", "val/ge2e"):
        assert then["untrained"][name] == pytest.approx(first["best"][name], rel=1e-5)


@pytest.mark.parametrize(
    ("singers_from", "loss", "remark"),
    [
        ("corpus", "ge2e+ce", "took encoder, ge2e, ce; dropped nothing"),
        ("other_corpus", "ge2e+ce", "dropped ce (specific to other training singers: 3 there, 3 here)"),
        ("corpus", "ge2e", "dropped ce (not a term of this loss)"),
    ],
)
def test_the_classifier_goes_with_its_singers(
    base: Path,
    singers_from: str,
    loss: str,
    remark: str,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("singer_verify"), "propagate", True)
    parent, verifier = ParentCheckpoint.read(str(base)), build(request.getfixturevalue(singers_from), f"loss={loss}")
    with caplog.at_level("INFO", logger="singer_verify"):
        parts = parent.transfer_weights(verifier)
    assert remark in caplog.text
    theirs, ours = parent.content["state_dict"], verifier.state_dict()
    same = {name for name in ours if torch.equal(ours[name], theirs[name])}
    classifier = {name for name in ours if "class_layer" in name}
    assert same == set(ours) - (set() if "dropped nothing" in remark else classifier)
    assert ("ce" in parts["taken"]) == ("dropped nothing" in remark)


@pytest.mark.parametrize(("singers_from", "taken"), [("corpus", ["encoder", "aam"]), ("other_corpus", ["encoder"])])
def test_margin_directions_go_with_their_singers(
    base: Path, singers_from: str, taken: list[str], request: pytest.FixtureRequest
) -> None:
    """They are taken or dropped as the parameters of any term are that knows the training singers."""
    whole, verifier = ParentCheckpoint.read(str(base)), build(request.getfixturevalue(singers_from), "loss=aam")
    size = verifier.encoder.embedding_size
    directions = {"loss.terms.aam.directions": torch.full((1, 3, size), 0.5)}
    encoder = {name: value for name, value in whole.content["state_dict"].items() if name.startswith("encoder.")}
    parent = ParentCheckpoint(whole.path, whole.content | {"state_dict": encoder | directions})
    parts = parent.transfer_weights(verifier)
    assert parts == {"taken": taken, "dropped": [] if "aam" in taken else ["aam"]}
    assert ("aam" in taken) == torch.equal(verifier.state_dict()["loss.terms.aam.directions"], *directions.values())


def test_other_features_are_refused_with_the_difference(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = write_ready_corpus(tmp_path / "narrow", "abc", bins=5)
    said = sentence_of(lambda: train(narrow, f"init_from={base}", "name=refused"), capsys)
    assert "does not fit this training: features.params.num_feats is 6 there, 5 here; set them like" in said
    assert not (base / "refused/run.json").exists()


def test_another_architecture_is_refused_with_the_difference(
    base: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (f"init_from={base}", "name=refused", "encoder.hidden_size=13", "encoder.pooling=last")
    said = sentence_of(lambda: train(corpus, *settings), capsys)
    assert "encoder.hidden_size is 12 there, 13 here; encoder.pooling is mean there, last here;" in said
    assert said.rstrip().endswith("set them like the parent's: encoder.hidden_size=12 encoder.pooling='mean'.")


def test_what_to_type_for_the_features_of_the_parent_is_said(base: Path) -> None:
    parent = ParentCheckpoint.read(str(base))
    recipe = dict(canonical_recipe(parent.content[METADATA_KEY]["recipe"]))
    recipe |= {"activity_db": 35, "level_db": -26, "mine": 1}
    with pytest.raises(SingerVerifyError) as refusal:
        parent.require_match(recipe, parent.content[METADATA_KEY]["encoder"])
    assert "the parent's: features.activity_db=null features.level_db=null ~features.mine." in str(refusal.value)


def test_dropout_is_not_architecture(base: Path) -> None:
    parent = ParentCheckpoint.read(str(base))
    card = parent.content[METADATA_KEY]
    parent.require_match(card["recipe"], card["encoder"] | {"dropout": 0.5, "initialisation": "orthogonal"})


def test_frozen_parts_stay_bit_identical(base: Path, child: Path) -> None:
    before = read_checkpoint(base / "checkpoints/best.ckpt")["state_dict"]
    after = read_checkpoint(child / "checkpoints/last.ckpt")
    unchanged = {name for name, tensor in after["state_dict"].items() if torch.equal(tensor, before[name])}
    assert unchanged == {name for name in before if name.startswith("encoder.lstm") and name.endswith("_l0")}
    num_in_optimizer = sum(len(group["params"]) for group in after["optimizer_states"][0]["param_groups"])
    assert num_in_optimizer == len(before) - 4


def test_parts_are_named_after_layers_and_modules() -> None:
    encoder = LSTMEncoder(5, 4, 2, 3, bidirectional=True, pooling="attention")
    parts = group_parameters_by_part(encoder)
    assert list(parts) == ["lstm.0", "lstm.1", "attention", "linear"]
    assert len(parts["lstm.1"]) == 8
    assert sum(map(len, parts.values())) == len(list(encoder.parameters()))
    expected = r"freeze=\[lstm.2\]: no such part of the encoder; expected some of lstm.0, lstm.1, attention, linear"
    with pytest.raises(SingerVerifyError, match=expected):
        freeze(encoder, ["linear", "lstm.2"])
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_tensorboard_shows_the_three_runs_apart(runs: Path, base: Path, child: Path, grandchild: Path) -> None:
    events = EventMultiplexer().AddRunsFromDirectory(str(runs))
    events.Reload()
    names = [run.relative_to(runs).as_posix() for run in (base, child, grandchild)]
    assert sorted(events.Runs()) == sorted(names)
    assert names == ["base", "base/child", "base/child/grandchild"]
    for name in names:
        assert sorted(event.step for event in events.Scalars(name, "val/eer")) == [0, 2, 4]


def test_the_command_shows_the_tree(runs: Path, base: Path, child: Path, grandchild: Path) -> None:
    listed = json.loads(CliRunner().invoke(app, ["runs", str(runs), "--json"]).stdout)
    assert [(run["path"], run["parent"], run["loss"]) for run in listed] == [
        ("base", None, "ge2e+ce"),
        ("base/child", "base", "ge2e+ce"),
        ("base/child/grandchild", "base/child", "ge2e"),
    ]
    assert {(run["features"], run["steps"], run["status"]) for run in listed} == {("precomputed6", 4, "finished")}
    assert listed[0]["best_eer"] == json.loads((base / "metrics.json").read_text())["best"]["val/eer"]
    table = CliRunner().invoke(app, ["runs", str(runs)]).stdout
    for line in ("│ base ", "│   child ", "│     grandchild "):
        assert line in table
