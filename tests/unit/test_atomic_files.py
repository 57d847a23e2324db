"""Files are written whole or not at all, wherever a command is told to write; what hinders it is one sentence."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import MakeCorpus, sing
from support.untrained_model import make_run
from typer.testing import CliRunner

from singer_verify.atomic_files import atomic_write, atomic_write_many, write_bytes_atomically, write_files_atomically
from singer_verify.cli import app
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.scoring.scoring import COSINE
from singer_verify.inference.scoring_file import save_scoring
from singer_verify.runs.folder import write_json


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def refusal(*arguments: object) -> str:
    with pytest.raises(SingerVerifyError) as caught:
        CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return str(caught.value)


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    with atomic_write(tmp_path / "a") as part:
        part.write_text("after")
        assert (tmp_path / "a").read_text() == "before"
    assert contents(tmp_path) == {"a": "after"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SingerVerifyError])
def test_nothing_is_left_of_a_file_that_was_given_up(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a").write_text("before")

    def give_up() -> None:
        with atomic_write_many(tmp_path / "a", tmp_path / "b") as parts:
            parts[0].write_text("half")
            raise error

    with pytest.raises(error):
        give_up()
    assert contents(tmp_path) == {"a": "before"}


def test_of_several_files_none_is_written_if_one_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    (tmp_path / "b").mkdir()
    with pytest.raises(SingerVerifyError, match=r"^--out .*: cannot be written \(b is a folder\); free some space"):
        write_files_atomically({"a": b"after", "b": b"after"}, tmp_path)
    (tmp_path / "c.part").mkdir()  # not ours to remove
    with pytest.raises(SingerVerifyError, match="cannot be written"):
        write_files_atomically({"a": b"after", "c": b"after"}, tmp_path)
    assert contents(tmp_path) == {"a": "before"}
    assert (tmp_path / "c.part").is_dir()
    write_files_atomically({"a": b"after", "d/e": b"new"}, tmp_path)
    assert (contents(tmp_path), contents(tmp_path / "d")) == ({"a": "after"}, {"e": "new"})


def test_places_that_cannot_hold_a_file(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path, "is a folder; expected a file"),
        (tmp_path / "no/a", f"no such folder {tmp_path}/no; create it first"),
        (
            tmp_path / ("a" * 300),
            r"cannot be written \(File name too long\), any existing file is unchanged; free some",
        ),
        (Path("/proc/a"), "cannot be written"),
    ):
        with pytest.raises(SingerVerifyError, match=rf"^--out {path}: {said}"):
            write_bytes_atomically(path, b"", "--out")
        with pytest.raises(SingerVerifyError, match=rf"^{path}: {said}"):
            write_json(path, {})
        with pytest.raises(SingerVerifyError, match=rf"^{path}: {said}"):
            save_scoring(path, COSINE, "f" * 64)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def commands(tmp_path: Path, make_corpus: MakeCorpus) -> dict[str, list[object]]:
    """Commands that write a file of the suffix that their last option needs."""
    model, corpus = make_run(tmp_path / "run"), make_corpus(utterances=2)
    soundfile.write(tmp_path / "a.wav", sing(1), 16_000)
    return {
        ".csv": ["trials", corpus, "--out"],
        ".npz": ["embed", model, tmp_path / "a.wav", "--out"],
        ".md": ["card", model, "--out"],
        ".onnx": ["export", model, "--frames", "--no-card", "--onnx"],
    }


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".md", pytest.param(".onnx", marks=pytest.mark.slow)])
def test_commands_say_what_hinders_them(commands: dict[str, list[object]], suffix: str, tmp_path: Path) -> None:
    call, folder = commands[suffix], tmp_path / f"folder{suffix}"
    folder.mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert f"{folder}: is a folder; expected a file, give another path." in refusal(*call, folder)
    assert f"no such folder {tmp_path}/no; create it first." in refusal(*call, tmp_path / f"no/a{suffix}")
    said = refusal(*call, f"/proc/a{suffix}")
    assert f"/proc/a{suffix}: cannot be written (" in said
    assert said.endswith("), any existing file is unchanged; free some space or give another path.")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_export_refuses_a_card_that_is_a_folder_before_the_work(
    commands: dict[str, list[object]], tmp_path: Path
) -> None:
    (tmp_path / "a.card.md").mkdir()
    call = [argument for argument in commands[".onnx"] if argument != "--no-card"]
    assert "a.card.md: is a folder" in refusal(*call, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_a_bare_name_lies_in_the_current_folder(
    commands: dict[str, list[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for suffix in (".csv", ".npz", ".md"):
        called = [*map(str, commands[suffix]), f"a{suffix}"]
        assert CliRunner().invoke(app, called, catch_exceptions=False).exit_code == 0
    assert sorted(os.listdir()) == ["a.csv", "a.md", "a.npz"]
    with np.load("a.npz", allow_pickle=False) as stored:
        assert stored["embeddings"].shape == (1, 8)


def test_json_is_written_as_before(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "é\udcff"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "é\udcff"}
