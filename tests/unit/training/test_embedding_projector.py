"""TensorBoard's projector: which embeddings a run leaves for it, and with which labels."""

import errno
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from support.evaluations import build_evaluated_utterances
from support.tiny_run import At, Killed, kill, make_corpus, run, tiny
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from torch.utils.tensorboard import SummaryWriter

from singer_verify.evaluation.embedding_map import sample_utterances
from singer_verify.inference import load_model
from singer_verify.training.callbacks.embedding_projector import (
    MAX_PROJECTOR_UTTERANCES,
    PROJECTOR_FOLDER,
    write_projector_files,
)


def read_back(folder: Path) -> tuple[np.ndarray, list[list[str]]]:
    """Embeddings, and the lines of the metadata, as TensorBoard finds them."""
    folder = folder / PROJECTOR_FOLDER
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (embedding,) = config.embeddings
    rows = np.loadtxt(folder / embedding.tensor_path, delimiter="\t", ndmin=2)
    lines = (folder / embedding.metadata_path).read_text(encoding="utf-8").splitlines()
    return rows, [line.split("\t") for line in lines]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """With labels of some of its utterances."""
    root = make_corpus(tmp_path / "corpus")
    (root / "corpus.csv").write_text("utterance,gender,song\nval/val0/1.npy,female,kids\nval/val1/0.npy,male,\n")
    return root


def best_embeddings(folder: Path, corpus: Path) -> np.ndarray:
    embedder = load_model(folder)
    return np.stack([embedder.embed(path) for path in sorted((corpus / "val").rglob("*.npy"))])


def test_a_run_leaves_the_best_model_and_its_labels(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run(monkeypatch, *tiny(corpus), folder=tmp_path / "run")
    rows, lines = read_back(folder)
    best_step = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["global_step"]
    assert best_step < 13, "the last model is the best: this test would not tell them apart"
    np.testing.assert_allclose(rows, best_embeddings(folder, corpus), atol=2e-3)  # frames in half precision
    assert lines[0] == ["singer", "gender", "song", "utterance"]
    assert lines[2] == ["val0", "female", "kids", "val/val0/1.npy"]
    assert lines[4] == ["val1", "male", "unknown", "val/val1/0.npy"]
    assert len(lines) == 1 + len(rows) == 10


def test_a_run_that_was_killed_and_continued_has_it_too(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Killed):
        run(monkeypatch, *tiny(corpus), folder=folder, callbacks=(At("on_train_batch_start", 10, kill),))
    run(monkeypatch, *tiny(corpus), f"resume={folder}", folder=folder)
    np.testing.assert_allclose(read_back(folder)[0], best_embeddings(folder, corpus), atol=2e-3)
    straight = run(monkeypatch, *tiny(corpus), folder=tmp_path / "straight")
    np.testing.assert_array_equal(*(read_back(run_folder)[0] for run_folder in (folder, straight)))


@pytest.mark.parametrize(
    ("table", "reason"),
    [("song\nkids\n", "has no column utterance"), ("utterance,song\nval/x/y.wav,kids\n", "lists val/x/y.wav, not in")],
)
def test_a_table_that_loses_all_labels_is_refused_before_any_work(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, reason: str
) -> None:
    (corpus / "corpus.csv").write_text(table)
    with pytest.raises(Exception, match=reason):
        run(monkeypatch, *tiny(corpus), folder=tmp_path / "run")


def test_a_training_without_space_goes_on(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(SummaryWriter, "add_embedding", refuse)
    monkeypatch.setattr(logging.getLogger("singer_verify"), "propagate", True)
    folder = run(monkeypatch, *tiny(corpus), "trainer.max_steps=1", folder=tmp_path / "run")
    log = (folder / "train.log").read_text()
    assert "TensorBoard's projector will not show this model:" in log
    assert "No space left on device" in log
    assert (folder / "metrics.json").exists()
    assert not (folder / PROJECTOR_FOLDER).exists()


def test_names_cannot_break_lines_and_many_utterances_are_drawn_from(tmp_path: Path) -> None:
    write_projector_files(tmp_path, build_evaluated_utterances(("a\tb\nc", "\udcff", " ")))
    rows, lines = read_back(tmp_path)
    assert {len(line) for line in lines} == {5}
    assert {line[0] for line in lines[1:]} == {"a b c", "?", "unknown"}
    assert len(rows) == len(lines) - 1 == 18
    chosen = sample_utterances(MAX_PROJECTOR_UTTERANCES + 5, 0, MAX_PROJECTOR_UTTERANCES)
    assert len(np.unique(chosen)) == MAX_PROJECTOR_UTTERANCES
    assert (np.diff(chosen) > 0).all()
