"""The baseline that needs no training: against NumPy, and as a run like any other."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_run import NUM_BINS, make_corpus, run, tiny
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.cli.console import format_user_error
from singer_verify.encoders.encoder import build_encoder
from singer_verify.encoders.statistics import StatisticsEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.metrics.verification import verify_all_pairs
from singer_verify.inference import load_model
from singer_verify.runs.checkpoints import read_checkpoint
from singer_verify.runs.tree import read_run_tree

# Of the small training, what only another encoder has.
NOT_OF_STATISTICS = ("encoder.hidden_size", "encoder.num_layers", "encoder.dropout", "encoder.embedding_size")


def settings(corpus: Path) -> list[str]:
    kept = [override for override in tiny(corpus) if not override.startswith(NOT_OF_STATISTICS)]
    return [*kept, "encoder=statistics", "data.store_dtype=float32"]


def statistics_of(frames: np.ndarray) -> np.ndarray:
    both = np.concatenate([frames.mean(axis=0, dtype=np.float64), frames.std(axis=0, dtype=np.float64)])
    return both / np.linalg.norm(both)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The validation singers are so near to one another that some trials are decided wrong."""
    root = make_corpus(tmp_path_factory.mktemp("data") / "corpus", num_val=5)
    generator = np.random.default_rng(0)
    for path in sorted((root / "val").rglob("*.npy")):
        frames = np.load(path)
        np.save(path, frames + generator.normal(0, 1, NUM_BINS).astype(np.float32))
    return root


@pytest.fixture(scope="module")
def baseline(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        return run(patch, *settings(corpus), folder=tmp_path_factory.mktemp("runs") / "floor")


def test_is_numpys_mean_and_deviation() -> None:
    frames = np.random.default_rng(0).normal(3.0, 2.0, (4, 50, 7)).astype(np.float32)
    embeddings = StatisticsEncoder(7)(torch.from_numpy(frames)).numpy()
    np.testing.assert_allclose(embeddings, [statistics_of(utterance_frames) for utterance_frames in frames], atol=1e-6)


def test_one_frame_has_no_deviation() -> None:
    (embedding,) = StatisticsEncoder(2)(torch.tensor([[[3.0, 4.0]]]))
    torch.testing.assert_close(embedding, torch.tensor([0.6, 0.8, 0.0, 0.0]))


def test_its_settings_rebuild_it() -> None:
    encoder = StatisticsEncoder(5)
    assert build_encoder(encoder.settings).settings == encoder.settings
    assert not list(encoder.parameters())


def test_its_run_has_the_figures_of_whole_utterances(baseline: Path, corpus: Path) -> None:
    files = sorted((corpus / "val").rglob("*.npy"))
    embeddings = np.stack([statistics_of(np.load(path)) for path in files]).astype(np.float32)
    _, singer_index = np.unique([path.parent.name for path in files], return_inverse=True)
    metrics = json.loads((baseline / "metrics.json").read_text())
    assert metrics["best"]["val/eer"] == pytest.approx(
        verify_all_pairs(embeddings, singer_index).metrics["eer"].value, abs=1e-6
    )
    assert 0 < metrics["best"]["val/eer"] < 0.5
    assert (metrics["steps"], metrics["stopped"], metrics["best"]["step"]) == (0, "nothing to train", 0)


def test_nothing_is_trained_not_even_the_loss(baseline: Path) -> None:
    best = read_checkpoint(baseline / "checkpoints/best.ckpt")
    assert best["global_step"] == 0
    assert {name: float(value) for name, value in best["state_dict"].items()} == {
        "loss.terms.ge2e.scale": 10.0,
        "loss.terms.ge2e.offset": -5.0,
    }


def test_refuses_a_classifier(monkeypatch: pytest.MonkeyPatch, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SingerVerifyError) as refused:
        run(monkeypatch, *settings(corpus), "loss=ce", folder=tmp_path / "run")
    assert "StatisticsEncoder is not trained; take loss=ge2e" in format_user_error(refused.value)


def test_it_embeds_whole_files_as_a_checkpoint_or_a_saved_model(baseline: Path, corpus: Path) -> None:
    for path in sorted((corpus / "val").rglob("*.npy"))[:3]:
        expected = statistics_of(np.load(path))
        assert expected.shape == (2 * NUM_BINS,)
        for model in (baseline, baseline / "saved_model.pt"):
            np.testing.assert_allclose(load_model(model).embed(path), expected, atol=1e-6)


def test_it_is_evaluated_and_listed_like_any_run(baseline: Path, corpus: Path) -> None:
    said = CliRunner().invoke(app, ["evaluate", str(baseline), str(corpus), "--json"]).stdout
    metrics = json.loads((baseline / "metrics.json").read_text())
    assert json.loads(said)["metrics"]["eer"]["value"] == pytest.approx(metrics["best"]["val/eer"], abs=1e-6)
    (listed,) = read_run_tree(baseline.parent)
    assert (listed.status, listed.steps, listed.best_eer) == ("finished", 0, metrics["best"]["val/eer"])


def test_it_takes_a_normalisation(monkeypatch: pytest.MonkeyPatch, corpus: Path, tmp_path: Path) -> None:
    floor = run(monkeypatch, *settings(corpus), "features.normalise=global_bins", folder=tmp_path / "run")
    training = np.concatenate([np.load(path) for path in sorted((corpus / "train").rglob("*.npy"))])
    path = corpus / "val/val0/0.npy"
    expected = statistics_of((np.load(path) - training.mean(axis=0)) / training.std(axis=0))
    np.testing.assert_allclose(load_model(floor).embed(path), expected, atol=1e-5)


def test_resuming_it_finds_the_same_again(monkeypatch: pytest.MonkeyPatch, corpus: Path, tmp_path: Path) -> None:
    floor = run(monkeypatch, *settings(corpus), folder=tmp_path / "run")
    before = json.loads((floor / "metrics.json").read_text())
    assert run(monkeypatch, f"resume={floor}") == floor
    after = json.loads((floor / "metrics.json").read_text())
    assert after | {"seconds": 0} == before | {"seconds": 0}


def test_signals_are_handled_afterwards_as_before(
    monkeypatch: pytest.MonkeyPatch, corpus: Path, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    run(monkeypatch, *settings(corpus), folder=tmp_path / "run")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
