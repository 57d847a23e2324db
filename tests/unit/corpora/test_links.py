"""Folders and links that are not recordings of a corpus: passed over or refused, and said."""

import logging
import os
import shutil
from pathlib import Path

import pytest
from support.audio import MakeCorpus
from support.dataset_miniatures import damp, vctk

from singer_verify.corpora.corpus import read_corpus
from singer_verify.corpora.readers import read_recordings
from singer_verify.errors import SingerVerifyError
from singer_verify.logging_once import forget_messages


@pytest.fixture(autouse=True)
def _say_warnings_again() -> None:
    forget_messages()


def paths_in(root: Path) -> list[str]:
    return [utterance.path for split in read_corpus(root).splits.values() for utterance in split.utterances]


@pytest.mark.parametrize(
    "folder", [".ipynb_checkpoints", ".Trash-1000/files", ".hidden", "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN"]
)
@pytest.mark.parametrize("where", ["train/train_singer0", "train"])
def test_folders_of_other_programs_are_passed_over(
    make_corpus: MakeCorpus, caplog: pytest.LogCaptureFixture, folder: str, where: str
) -> None:
    root = make_corpus(utterances=1)
    expected = paths_in(root)
    (root / where / folder).mkdir(parents=True)
    shutil.copy(root / "val/val_singer0/song0.flac", root / where / folder / "song0-checkpoint.flac")
    assert paths_in(root) == expected
    assert paths_in(root) == expected
    first = root / where / folder.partition("/")[0]
    assert caplog.text.count(f"1 hidden or system folders passed over (the first: {first})") == 1


@pytest.mark.parametrize("target", [".", "../train_singer0", "inner"])
def test_a_folder_is_read_once(make_corpus: MakeCorpus, caplog: pytest.LogCaptureFixture, target: str) -> None:
    root = make_corpus(utterances=1)
    inner = root / "train/train_singer0/inner"
    inner.mkdir()
    shutil.move(root / "train/train_singer0/song0.flac", inner / "song0.flac")
    expected = paths_in(root)
    os.symlink(target, root / "train/train_singer0/again")
    assert paths_in(root) == expected
    assert f"1 links to folders that are read anyway passed over (the first: {inner.parent / 'again'})" in caplog.text


def test_a_link_to_a_file_of_the_same_singer_is_passed_over(
    make_corpus: MakeCorpus, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_corpus(utterances=1)
    expected = paths_in(root)
    os.symlink("song0.flac", root / "train/train_singer0/again.flac")  # sorted before the file
    assert paths_in(root) == expected
    assert "1 links to files that are listed anyway passed over" in caplog.text


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("train/train_singer1/x.flac", "../train_singer0/song0.flac"),
        ("train/train_singer1/x", "../train_singer0"),
        ("train/other", "train_singer0"),
        ("val/other", "../train/train_singer0"),
        ("val/val_singer0/x.flac", "../../train/train_singer0/song0.flac"),
        ("train/train_singer0/up", "../.."),
    ],
)
def test_a_link_to_another_singer_or_split_is_refused(make_corpus: MakeCorpus, link: str, target: str) -> None:
    root = make_corpus(utterances=1)
    os.symlink(target, root / link)
    with pytest.raises(SingerVerifyError, match=r"links make one file two recordings.*delete the link") as refusal:
        read_corpus(root)
    assert f"{root}/{link.split('.')[0]}" in str(refusal.value)


@pytest.mark.parametrize("link", ["train/train_singer0/gone.flac", "train/train_singer0/gone", "train/gone"])
def test_a_link_to_nothing_is_one_message(make_corpus: MakeCorpus, link: str) -> None:
    root = make_corpus(utterances=1)
    os.symlink("/nowhere/x", root / link)
    with pytest.raises(SingerVerifyError, match=r"gone.*: links to /nowhere/x, which cannot be read \(No such file"):
        read_corpus(root)


@pytest.mark.parametrize("link", ["train/train_singer0/self", "train/train_singer0/self.flac", "train/self"])
def test_a_link_to_itself_is_one_message(make_corpus: MakeCorpus, link: str) -> None:
    root = make_corpus(utterances=1)
    os.symlink(Path(link).name, root / link)
    with pytest.raises(SingerVerifyError, match=r"self.*: links to self.*, which cannot be read \(Too many levels"):
        read_corpus(root)


def test_a_folder_that_cannot_be_read_is_one_message(make_corpus: MakeCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    root, scandir = make_corpus(utterances=1), os.scandir
    (root / "train/train_singer1/private").mkdir()

    def refuse(path: Path) -> object:
        if Path(path).name == "private":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SingerVerifyError, match=r"train_singer1/private: cannot be read \(Permission denied\)"):
        read_corpus(root)


def test_a_corpus_of_links_to_files_elsewhere_is_read(
    make_corpus: MakeCorpus, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_corpus()
    linked = root.with_name("linked")
    for path in root.rglob("*.flac"):
        (linked / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        (linked / path.relative_to(root)).symlink_to(path)
    assert paths_in(linked) == paths_in(root)
    assert not caplog.records


def test_an_original_comes_before_its_copies(make_corpus: MakeCorpus) -> None:
    root = make_corpus(train=2, val=2, utterances=1)
    for copy in ("song0 (1).flac", "song0-2.flac"):
        shutil.copy(root / "train/train_singer0/song0.flac", root / "train/train_singer0" / copy)
    names = [path.rpartition("/")[2] for path in paths_in(root)[:3]]
    assert names == ["song0.flac", "song0 (1).flac", "song0-2.flac"]


def test_a_data_set_is_searched_likewise(make_corpus: MakeCorpus, caplog: pytest.LogCaptureFixture) -> None:
    source = make_corpus() / "train"
    expected = read_recordings("folder", source, {})
    os.symlink(".", source / "train_singer0/loop")
    for folder in (".ipynb_checkpoints", "@eaDir"):
        (source / "train_singer1" / folder).mkdir()
        shutil.copy(source / "train_singer1/song0.flac", source / "train_singer1" / folder)
    with caplog.at_level(logging.WARNING):
        assert read_recordings("folder", source, {}) == expected
    assert "1 links to folders that are read anyway passed over" in caplog.text
    assert "2 hidden or system folders passed over" in caplog.text


@pytest.mark.parametrize("reader", ["damp", "vctk"])
@pytest.mark.parametrize("folder", ["", "__MACOSX", ".cache", "@eaDir"])
def test_tables_that_other_programs_left_are_not_read(tmp_path: Path, reader: str, folder: str) -> None:
    """For instance the resource forks of a Mac's archive, whose names sort first."""
    {"damp": damp, "vctk": vctk}[reader](tmp_path)
    expected = read_recordings(reader, tmp_path, {})
    for name in ("._a.csv", "speaker-info.txt") if folder else ("._a.csv", "._speaker-info.txt"):
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("account_id\np225  23  X\n")
    assert read_recordings(reader, tmp_path, {}) == expected
