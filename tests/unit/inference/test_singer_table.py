"""The look-up table: a mean embedding for each singer of a corpus, as npz and csv."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from support.audio import MakeCorpus
from support.untrained_model import make_run
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.errors import SingerVerifyError
from singer_verify.inference import load_model


def invoke(*arguments: object) -> str:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False).stdout


def test_rows_are_the_means_of_the_singers_recordings(
    tmp_path: Path, make_corpus: MakeCorpus, caplog: pytest.LogCaptureFixture
) -> None:
    run, root = make_run(tmp_path / "run"), make_corpus()
    (root / "val/val_singer1/song0.flac").write_bytes(b"")
    invoke("table", run, root, "--out", tmp_path / "table")
    assert "song0.flac: file is empty" in caplog.text
    embedder = load_model(run)
    with np.load(tmp_path / "table.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    assert arrays["singers"].tolist() == [*(f"train_singer{n}" for n in range(3)), "val_singer0", "val_singer1"]
    assert arrays["splits"].tolist() == ["train"] * 3 + ["val"] * 2
    assert arrays["num_utterances"].tolist() == [3, 3, 3, 3, 2]
    assert str(arrays["fingerprint"]) == embedder.fingerprint
    sums = sum(embedder.embed(path) for path in (root / "train/train_singer1").iterdir())
    np.testing.assert_allclose(arrays["embeddings"][1], sums / np.linalg.norm(sums), atol=1e-6)
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0][:4] == ["singer", "split", "num_utterances", "e0"]
    assert [row[:3] for row in rows[1:3]] == [["train_singer0", "train", "3"], ["train_singer1", "train", "3"]]
    np.testing.assert_allclose(np.array(rows[2][3:], float), arrays["embeddings"][1], atol=1e-7)


def test_splits_and_suffixes_are_chosen(tmp_path: Path, make_corpus: MakeCorpus) -> None:
    run, root = make_run(tmp_path / "run"), make_corpus()
    printed = json.loads(invoke("table", run, root, "--out", tmp_path / "val.csv", "--split", "val", "--json"))
    assert printed["num_utterances"] == {"val_singer0": 3, "val_singer1": 3}
    assert not (tmp_path / "val.npz").exists()
    assert [line.split(",")[1] for line in (tmp_path / "val.csv").read_text().splitlines()[1:]] == ["val", "val"]
    with pytest.raises(SingerVerifyError, match=r"ends in \.npz or \.csv"):
        invoke("table", run, root, "--out", tmp_path / "table.txt")
    with pytest.raises(SingerVerifyError, match="has no folder test"):
        invoke("table", run, root, "--out", tmp_path / "table", "--split", "test")
    with pytest.raises(SingerVerifyError, match="has none of the folders"):
        invoke("table", run, root / "val", "--out", tmp_path / "table")
