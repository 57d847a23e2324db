"""The model card: it says what is recorded, says so where nothing is, and its examples run."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import yaml
from support.audio import sing
from support.tiny_run import make_corpus, run, tiny
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.features.mel import MelSpectrogram
from singer_verify.inference import load_model
from singer_verify.reports import model_card
from singer_verify.reports.model_card import render_model_card
from singer_verify.runs.checkpoints import Checkpoint
from singer_verify.runs.model_metadata import METADATA_KEY, ModelMetadata
from singer_verify.runs.provenance import read_provenance

FIGURES = {
    "model": "runs/first",
    "corpus": "/corpora/ravdess|song",
    "split": "val",
    "num_singers": 4,
    "num_utterances": 176,
    "num_trials": 15400,
    "num_targets": 3784,
    "scoring": "cosine",
    "remarks": [],
    "fitted_metrics": [],
    "metrics": {
        "eer": {"value": 0.1064, "low": 0.05, "high": 0.17},
        "threshold": {"value": 0.8123, "low": 0.7, "high": 0.9},
        "cllr": None,
        "top_1": {"value": 0.5, "low": None, "high": None},
        "min_dcf_0.01": {"value": 0.861, "low": 0.7, "high": 0.95},
    },
    "conditions": [
        {"condition": "all", "num_targets": 3784, "num_nontargets": 11616, "eer": None},
        {
            "condition": "cross song",
            "num_targets": 2000,
            "num_nontargets": 6000,
            "eer": {"value": 0.2, "low": 0.1, "high": 0.3},
        },
        {"condition": "cross gender", "num_targets": 0, "num_nontargets": 6000, "eer": None},
    ],
}


def card_of(model: Path, *options: object) -> str:
    out = model.parent / "card.md"
    called = ["card", str(model), "--out", str(out), "--force", *map(str, options)]
    assert CliRunner().invoke(app, called, catch_exceptions=False).exit_code == 0
    return out.read_text(encoding="utf-8")


def figures_of(model: Path) -> dict[str, Any]:
    """`FIGURES` as if they were this model's."""
    return FIGURES | {"fingerprint": read_provenance(Checkpoint.read(model)).fingerprint}


def front_matter(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def rows(card: str) -> dict[str, str]:
    """First and second cell of every row of every table."""
    return dict(re.findall(r"^\| ([^|]+?) \| (.*?) \|(?: |$)", card, re.MULTILINE))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and one that began with its weights."""
    folder = tmp_path_factory.mktemp("runs")
    corpus = make_corpus(folder / "singers")
    with pytest.MonkeyPatch.context() as patch:
        parent = run(patch, *tiny(corpus), "seed=3", folder=folder / "first")
        child = run(patch, *tiny(corpus), f"init_from={parent}", "loss=ge2e+ce", folder=folder / "first" / "tuned")
    return parent, child


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A checkpoint that lies in no run and carries nothing but what it needs."""
    torch.manual_seed(0)
    encoder = LSTMEncoder(8, 6, 1, 4, relu=False)
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    torch.save(
        {
            "state_dict": state,
            METADATA_KEY: ModelMetadata(MelSpectrogram(8).recipe, encoder.settings, 20, ()).to_dict(),
        },
        tmp_path / "a.ckpt",
    )
    return tmp_path / "a.ckpt"


def test_a_run_tells_its_training(runs: tuple[Path, Path]) -> None:
    parent, _ = runs
    card, metrics = card_of(parent), json.loads((parent / "metrics.json").read_text())
    told = rows(card)
    assert card.startswith("---\n")
    assert "\n# first\n" in card
    assert told["corpus"] == "singers"
    assert told["training"] == "5 singers, 15 utterances"
    assert told["validation, other singers"] == "3 singers, 9 utterances"
    assert told["loss"] == "1 × ge2e"
    assert told["batch"] == "4 singers × 2 crops of 10 frames"
    assert told["seed"] == "3"
    assert told["initial weights"] == "random"
    assert told["steps"].startswith("13 (step limit)")
    assert told["best step"] == told["these weights are of step"] == str(metrics["best"]["step"])
    assert told["num bins"] == "5"
    assert "torch 2." in told["versions"]
    assert "It was trained on 5 singers" in card


def test_a_run_without_evaluation_tells_its_validation_and_what_is_wrong_with_it(runs: tuple[Path, Path]) -> None:
    parent, _ = runs
    card, best = card_of(parent), json.loads((parent / "metrics.json").read_text())["best"]
    assert f"EER {100 * best['val/eer']:.2f} %" in card
    assert "of 3 singers" in card
    assert "chosen among others of its training by its metrics on exactly these singers" in card
    assert "model-index" not in front_matter(card)


def test_a_checkpoint_of_another_step_does_not_claim_the_best_figures(runs: tuple[Path, Path]) -> None:
    last = read_provenance(Checkpoint.read(runs[0] / "checkpoints/last.ckpt"))
    assert last.step == 13
    assert last.validation == last.metrics["final"]
    torch.save(torch.load(last.checkpoint, weights_only=True) | {"global_step": 7}, runs[0] / "checkpoints/other.ckpt")
    assert read_provenance(Checkpoint.read(runs[0] / "checkpoints/other.ckpt")).validation == {}


def test_a_run_names_its_ancestors(runs: tuple[Path, Path]) -> None:
    parent, child = runs
    told = rows(card_of(child))
    assert told["initial weights"] == f"first at step {read_provenance(Checkpoint.read(parent)).step}"
    assert told["loss"] == "1 × ge2e + 1 × ce"


def test_a_bare_checkpoint_has_less_to_tell_and_invents_nothing(bare: Path) -> None:
    card = card_of(bare)
    told = rows(card)
    for row in ("corpus", "training", "loss", "optimiser", "batch", "augmentation", "steps", "best step", "seed"):
        assert told[row] == "not recorded", row
    for row in ("these weights are of step", "initial weights", "versions", "git commit", "started"):
        assert told[row] == "not recorded", row
    assert told["parameters"] == "412"
    assert "Not recorded. `singer-verify evaluate` evaluates the model" in card
    assert "The number of training singers is not recorded" in card
    assert "**Threshold.** None." in card
    assert "Of the weights: not recorded" in card
    assert "license" not in front_matter(card)


def test_figures_come_with_their_intervals(bare: Path) -> None:
    path = bare.parent / "evaluation.json"
    path.write_text(json.dumps(figures_of(bare)))
    card = card_of(bare, "--evaluation", path, "--licence", "cc-by-4.0")
    assert "| EER | 10.64 % | 5.0 to 17.0 % |" in card
    assert "| minDCF at prior 0.01 | 0.861 | 0.700 to 0.950 |" in card
    assert "| top-1 identification | 50.00 % |  |" in card
    assert "Cllr" not in card
    assert "on these very singers" not in card
    assert "| cross song | 20.00 % | 10.0 to 30.0 % | 2000 | 6000 |" in card
    assert "| cross gender | no target trials |  | 0 | 6000 |" in card
    assert "4 singers, 176 utterances, 15400 trials, 3784 of them target" in card
    assert r"### ravdess\|song, val" in card
    assert "score 0.8123 or more" in card
    assert "/corpora" not in card
    remark = "The best step of the model was chosen on these very singers."
    path.write_text(json.dumps(figures_of(bare) | {"remarks": [remark], "fitted_metrics": ["eer"]}))
    flattered = card_of(bare, "--evaluation", path)
    assert f"\n{remark}\n" in flattered
    assert "| EER (fitted to singers evaluated here) | 10.64 % |" in flattered
    matter = front_matter(card)
    assert matter["license"] == "cc-by-4.0"
    (result,) = matter["model-index"][0]["results"]
    assert result["metrics"][0] == {"type": "eer", "name": "EER", "value": 0.1064}


def test_evaluations_in_the_run_are_found(runs: tuple[Path, Path]) -> None:
    parent, _ = runs
    folder = parent / "evaluation" / "val"
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text(json.dumps(figures_of(parent)))
    try:
        assert "| EER | 10.64 %" in card_of(parent)
        assert "chosen among others" not in card_of(parent)
    finally:
        (folder / "evaluation.json").unlink()


def test_figures_of_another_model_are_never_taken(
    runs: tuple[Path, Path], bare: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Given, they are refused; found in the run, where a training may have left them behind, left out and named."""
    parent, child = runs
    path = bare.parent / "evaluation.json"
    for content, said in ((figures_of(child), "is of another model"), (FIGURES, "does not say of which model it is")):
        path.write_text(json.dumps(content))
        with pytest.raises(
            SingerVerifyError, match=rf"evaluation\.json: this evaluation {said}; run singer-verify evaluate"
        ):
            card_of(parent, "--evaluation", path)
        evaluation = parent / "evaluation/old/evaluation.json"
        evaluation.parent.mkdir(parents=True, exist_ok=True)
        evaluation.write_text(json.dumps(content))
        caplog.clear()
        assert "10.64 %" not in card_of(parent)
        assert f"Left out: {evaluation}: this evaluation {said}" in caplog.text
        evaluation.unlink()


@pytest.mark.parametrize(
    "content", ["no json", "[]", json.dumps({"metrics": {}}), json.dumps(FIGURES | {"metrics": 3})]
)
def test_what_is_no_evaluation_is_refused(bare: Path, content: str) -> None:
    path = bare.parent / "evaluation.json"
    path.write_text(content)
    with pytest.raises(SingerVerifyError, match=r"evaluation\.json: cannot be read .* expected a evaluation\.json"):
        card_of(bare, "--evaluation", path)
    with pytest.raises(SingerVerifyError, match="no such file"):
        card_of(bare, "--evaluation", bare.parent / "none.json")


def test_threshold_of_the_model_goes_first(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from singer_verify.evaluation.scoring.scoring import Scoring, Threshold

    own = Scoring(threshold=Threshold(0.55, "equal error rate on 9 singers"))
    monkeypatch.setattr(model_card, "load_model_scoring", lambda model: own)
    path = bare.parent / "evaluation.json"
    path.write_text(json.dumps(figures_of(bare)))
    assert "score 0.5500 or more" in card_of(bare, "--evaluation", path)


@pytest.mark.slow
def test_examples_in_the_card_run(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called = ["export", str(bare), "--onnx", str(tmp_path / "a.onnx")]
    assert CliRunner().invoke(app, called, catch_exceptions=False).exit_code == 0
    card = (tmp_path / "a.card.md").read_text(encoding="utf-8")
    for name, seed in (("a.wav", 1), ("b.wav", 2)):
        soundfile.write(tmp_path / name, sing(seed), 16_000)
    monkeypatch.chdir(tmp_path)
    embedder = load_model(bare)
    expected = float(embedder.embed(Path("a.wav")) @ embedder.embed(Path("b.wav")))
    examples = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert ["load_model" in example for example in examples] == [True, False]
    assert "onnx" in front_matter(card)["tags"]
    for example in examples:
        capsys.readouterr()
        exec(compile(example, "example", "exec"), {})
        assert float(capsys.readouterr().out.split()[-1]) == pytest.approx(expected, abs=1e-5)


def test_example_from_frames_runs(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    from singer_verify.export.onnx import build_onnx_program, write_onnx

    embedder = load_model(bare)
    write_onnx(build_onnx_program(embedder, from_frames=True), tmp_path / "f.onnx", {})
    card = model_card.render_model_card(embedder, onnx=model_card.OnnxFile("f.onnx", from_frames=True))
    frames = [np.random.default_rng(seed).random((50, 8), np.float32) for seed in (0, 1)]
    for name, recording_frames in zip("ab", frames, strict=True):
        np.save(tmp_path / f"{name}.npy", recording_frames)
    monkeypatch.chdir(tmp_path)
    example = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[1]
    exec(compile(example, "example", "exec"), {})
    left, right = (embedder.embed_frames(torch.from_numpy(recording_frames)) for recording_frames in frames)
    assert float(capsys.readouterr().out.split()[-1]) == pytest.approx(float(left @ right), abs=1e-5)


def test_the_examples_trust_the_packages_that_the_model_needs(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(bare)
    assert "trust" not in render_model_card(model)
    monkeypatch.setattr(model_card, "list_packages", lambda settings: ["my_parts"])
    lines = render_model_card(model).splitlines()
    (loads,) = (line for line in lines if "load_model(" in line)
    assert loads.endswith(', trust=["my_parts"])')
    commands = [line for line in lines if line.startswith("$ singer-verify")]
    assert len(commands) == 2
    assert all(line.endswith(" --trust my_parts") for line in commands)


def test_a_path_with_blanks_or_quotes_stays_one_word_of_the_shell(bare: Path, tmp_path: Path) -> None:
    for name in ("my model.ckpt", "it's $(touch x); here.ckpt", "plain.ckpt"):
        bare = bare.rename(tmp_path / name)
        commands = re.findall(r"^\$ (singer-verify .*)$", card_of(bare), re.MULTILINE)
        assert [shlex.split(command)[2] for command in commands] == [name, name]
