"""A scan of a folder names what it passes over, by suffix, in one line."""

import logging
from pathlib import Path

import pytest
import soundfile
from support.audio import MakeCorpus, sing
from support.untrained_model import make_run

from singer_verify import load_model
from singer_verify.corpora.corpus import read_corpus
from singer_verify.corpora.readers import read_recordings

NAMES = ("notes.txt", "Lyrics.TXT", "take.amr", "README", ".DS_Store")
SAID = "4 other files passed over (1 .amr, 2 .txt, 1 without a suffix)."


def add_other_files(folder: Path) -> None:
    for name in NAMES:
        (folder / name).write_bytes(b"x")


def lines_about(folder: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith(f"{folder}: 4 other")]


def test_of_a_corpus(make_corpus: MakeCorpus, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="singer_verify")
    root = make_corpus(utterances=2)
    add_other_files(root / "train/train_singer0")
    for _ in range(2):
        read_corpus(root)
    assert lines_about(root / "train", caplog) == [f"{root / 'train'}: {SAID}"]


def test_of_a_folder_to_embed_and_of_a_data_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="singer_verify")
    model = load_model(make_run(tmp_path / "run"))
    for kind in ("embed", "prepare"):
        folder = tmp_path / kind
        (folder / "anna").mkdir(parents=True)
        soundfile.write(folder / "anna/1.wav", sing(1), 16_000)
        add_other_files(folder)
    assert model.find_files([tmp_path / "embed"]) == [tmp_path / "embed/anna/1.wav"]
    assert len(read_recordings("folder", tmp_path / "prepare", {})) == 1
    for kind in ("embed", "prepare"):
        assert lines_about(tmp_path / kind, caplog) == [f"{tmp_path / kind}: {SAID}"]
