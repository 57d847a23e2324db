"""A model as one small file: the same embeddings, nothing of its training, no path of the machine."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.audio import SAMPLE_RATE, sing
from support.cli import call, refusal
from support.untrained_model import make_run

from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.scoring import Scoring, Threshold
from singer_verify.export import model_file
from singer_verify.export.model_file import build_model_content, write_model_file
from singer_verify.inference import load_model, load_model_scoring
from singer_verify.inference.scoring_file import save_scoring
from singer_verify.runs.checkpoints import VALIDATION_KEY, Checkpoint
from singer_verify.runs.model_metadata import METADATA_KEY
from singer_verify.runs.settings import SETTINGS_KEY, strip_folders


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder as a training leaves it: optimiser, loss, trainer's state, settings that name folders."""
    folder = make_run(tmp_path / "home/run")
    path = folder / "checkpoints/best.ckpt"
    content = torch.load(path, weights_only=True)
    content["state_dict"]["loss.terms.ce.class_layer.weight"] = torch.zeros(2, 8)
    settings = {"data": {"root": [f"{tmp_path}/corpora/one", "here"], "store_root": "~/store"}, "seed": 1}
    settings |= {"teacher": f"{tmp_path}/runs/teacher", "logger": {"uri": f"file://{tmp_path}/logs", "d": "C:\\me\\x"}}
    content |= {"optimizer_states": [{"state": torch.zeros(5000)}], "callbacks": {"best": str(path)}, "loops": {}}
    content |= {"global_step": 7, "epoch": 0, VALIDATION_KEY: {"step": 7, "threshold": 0.4, "num_singers": 3}}
    torch.save(content | {SETTINGS_KEY: settings}, path)
    return folder


def collect_texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in collect_texts(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in collect_texts(part)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("dtype", ["float16", "float32", None])
def test_the_file_embeds_like_the_run_and_holds_no_more(run: Path, tmp_path: Path, dtype: str | None) -> None:
    written = write_model_file(run, tmp_path / "a.pt", dtype)
    assert written.dtype == (dtype or "float16")
    assert written.num_bytes == (tmp_path / "a.pt").stat().st_size < 40_000
    before, after = load_model(run), load_model(tmp_path / "a.pt")
    samples = sing(1, 2.0)
    difference = np.abs(before.embed(samples, SAMPLE_RATE) - after.embed(samples, SAMPLE_RATE)).max()
    assert difference <= (0.0 if dtype == "float32" else 1e-3)
    assert (before.fingerprint == after.fingerprint) == (dtype == "float32")
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    assert all(name.startswith("encoder.") for name in content["state_dict"])
    assert "optimizer_states" not in content
    assert {tensor.dtype for tensor in content["state_dict"].values() if tensor.numel() >= 1024} == {
        getattr(torch, written.dtype)
    }
    assert all(
        tensor.dtype == torch.float32 for tensor in Checkpoint.read(tmp_path / "a.pt").content["state_dict"].values()
    )


def test_no_path_of_the_machine_is_in_it(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.pt"
    write_model_file(run, out, "float32")
    texts = collect_texts(torch.load(out, weights_only=True))
    assert [text for text in texts if str(tmp_path) in text or text.startswith(("/", "~")) or ":\\" in text] == []
    assert str(tmp_path).encode() not in out.read_bytes()
    assert Checkpoint.read(out).settings == {
        "data": {"root": ["one", "here"], "store_root": "store"},
        "seed": 1,
        "teacher": "teacher",
        "logger": {"uri": "file://logs", "d": "x"},
    }


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("data.root=/a/b", "data.root=b"),
        ("data.root=[/a/b,/c/d]", "data.root=[b,d]"),
        ("{teacher: /a/b}", "{teacher: b}"),
        ("~callbacks.pictures", "~callbacks.pictures"),
        ("~/a/b", "b"),
        ("D:/a/b", "b"),
        ("\\\\host\\share\\b", "b"),
        ("https://host/a", "https://host/a"),
        ("a/b", "a/b"),
        ("13 singers, 3/4", "13 singers, 3/4"),
    ],
)
def test_folders_are_stripped_of_absolute_paths(text: str, stripped: str) -> None:
    assert strip_folders({"a": [text]}) == {"a": [stripped]}


def test_a_model_that_names_another_file_is_refused(run: Path) -> None:
    checkpoint = Checkpoint.read(run)
    checkpoint.metadata.recipe["model"] = "/opt/f0.onnx"
    with pytest.raises(Exception, match=r"names /opt/f0\.onnx, a path of this machine"):
        build_model_content(checkpoint)


def test_weights_that_half_precision_changes_stay_single(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_file, "HALF_TOLERANCE", 1e-9)
    assert write_model_file(run, tmp_path / "a.pt").dtype == "float32"
    assert "float16 changes its embeddings" in refusal("export", run, "--pt", tmp_path / "b.pt", "--dtype", "float16")
    assert not (tmp_path / "b.pt").exists()


def test_the_threshold_and_the_scoring_come_along(run: Path, tmp_path: Path) -> None:
    write_model_file(run, tmp_path / "a.pt")
    recorded = load_model_scoring(load_model(tmp_path / "a.pt")).threshold
    assert recorded is not None
    assert recorded.score == 0.4
    scoring = Scoring(calibration=Calibration(2.0, 1.0, "three"), threshold=Threshold(0.5, "three singers"))
    save_scoring(run / "scoring.npz", scoring, load_model(run).fingerprint)
    written = write_model_file(run, tmp_path / "b.pt")
    assert written.files == (tmp_path / "b.pt", tmp_path / "b.scoring.npz")
    fitted = load_model_scoring(load_model(tmp_path / "b.pt"))
    assert (fitted.threshold, fitted.calibration) == (scoring.threshold, scoring.calibration)
    again = write_model_file(tmp_path / "b.pt", tmp_path / "c.pt")  # of a file that was written so
    assert again.files[1].is_file()
    assert load_model(tmp_path / "c.pt").fingerprint == load_model(tmp_path / "b.pt").fingerprint


def test_the_command_writes_a_card(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "voice.pt"
    arguments = ("export", run, "--pt", out, "--model-version", 2, "--licence", "cc-by-sa-4.0")
    record = json.loads(call(*arguments, "--json"))
    assert record["written"] == [str(out), str(tmp_path / "voice.md")]
    assert record["bytes"] == out.stat().st_size
    card = (tmp_path / "voice.md").read_text()
    assert card.startswith("---\nlicense: cc-by-sa-4.0\nversion: '2'\n")
    assert 'load_model("voice.pt")' in card
    assert str(tmp_path) not in card
    assert "voice.pt and " in refusal(*arguments)
    assert "0.0 MB, float16" in call(*arguments, "--force")


def test_the_command_refuses(run: Path, tmp_path: Path) -> None:
    pt = ("--pt", tmp_path / "a.pt")
    assert "give one of the two" in refusal("export", run)
    assert "give one of the two" in refusal("export", run, *pt, "--onnx", tmp_path / "a.onnx")
    assert "--frames: has no effect without --onnx" in refusal("export", run, *pt, "--frames")
    assert "--dtype=half: expected one of float16, float32" in refusal("export", run, *pt, "--dtype", "half")
    assert "ends in .pt" in refusal("export", run, "--pt", tmp_path / "a.ckpt")
    assert "no effect without --pt" in refusal("export", run, "--onnx", tmp_path / "a.onnx", "--dtype", "float16")
    assert METADATA_KEY in Checkpoint.read(run).content
    assert not (tmp_path / "a.pt").exists()
