"""A corpus folder is read as it lies, or refused in one sentence."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.audio import MakeCorpus

from singer_verify.corpora.corpus import Split, Utterance, read_corpus
from singer_verify.errors import SingerVerifyError


def test_folders_are_singers_and_everything_is_sorted(make_corpus: MakeCorpus) -> None:
    root = make_corpus(train=12, utterances=1)
    train = read_corpus(root).splits["train"]
    assert train.singers == tuple(sorted(f"train_singer{number}" for number in range(12)))
    assert [utterance.path for utterance in train.utterances] == sorted(
        utterance.path for utterance in train.utterances
    )


class ReversedListing:
    """`os.scandir` with the entries in reverse order."""

    scandir = staticmethod(os.scandir)

    def __init__(self, path: Path) -> None:
        self.entries = reversed(list(self.scandir(path)))

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return self.entries

    def __next__(self) -> os.DirEntry[str]:
        return next(self.entries)

    def __enter__(self) -> "ReversedListing":
        return self

    def __exit__(self, *_: object) -> None: ...


def test_the_order_of_a_directory_listing_changes_nothing(
    make_corpus: MakeCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier encoder numbered singers as the file system lists them, differently on every machine."""
    root = make_corpus(train=12, utterances=3)
    expected = read_corpus(root)
    monkeypatch.setattr(os, "scandir", ReversedListing)  # os.walk uses it too
    assert read_corpus(root) == expected


def test_subfolders_belong_to_the_singer(make_corpus: MakeCorpus) -> None:
    """VocalSet holds files of one singer under another's name; the folder decides."""
    root = make_corpus()
    deep = root / "train/train_singer0/vibrato/long"
    deep.mkdir(parents=True)
    shutil.copy(root / "train/train_singer1/song0.flac", deep / "train_singer1_song9.FLAC")
    singer_by_path = {utterance.path: utterance.singer for utterance in read_corpus(root).splits["train"].utterances}
    assert singer_by_path["train/train_singer0/vibrato/long/train_singer1_song9.FLAC"] == "train_singer0"


def test_other_files_are_ignored_and_counted(make_corpus: MakeCorpus) -> None:
    root = make_corpus()
    for name in ("train/notes.txt", "train/train_singer0/.hidden.flac", "val/val_singer0/cover.jpg"):
        (root / name).touch()
    corpus = read_corpus(root)
    assert corpus.splits["train"].num_ignored == 2
    assert corpus.format_summary().endswith("3 other files ignored.")


def test_singers_with_a_single_recording_are_named_in_the_summary() -> None:
    split = Split(
        "val", (Utterance("val/a/1.wav", "a"), Utterance("val/a/2.wav", "a"), Utterance("val/b/1.wav", "b")), 0
    )
    assert split.format_summary() == "val 2 singers, 3 utterances (b with a single one)"


def test_names_that_contain_each_other_stay_apart(make_corpus: MakeCorpus) -> None:
    root = make_corpus(train=2)
    (root / "train/train_singer0").rename(root / "train/male1")
    (root / "train/train_singer1").rename(root / "train/female1")
    (root / "val/val_singer0").rename(root / "val/male10")
    counts = {split.name: split.singers for split in read_corpus(root).splits.values()}
    assert counts == {"train": ("female1", "male1"), "val": ("male10", "val_singer1")}


def refusal(root: Path) -> str:
    with pytest.raises(SingerVerifyError) as caught:
        read_corpus(root)
    return str(caught.value)


def test_refuses_a_missing_folder(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert refusal(nowhere) == f"{nowhere}: no such folder; expected <root>/{{train,val}}/<singer>/<utterance>."
    with pytest.raises(
        SingerVerifyError, match=rf"^{nowhere}: no such folder; expected <root>/val/<singer>/<utterance>"
    ):
        read_corpus(nowhere, splits=("val",), required=("val",))


@pytest.mark.parametrize("split", ["train", "val"])
def test_refuses_a_missing_split(make_corpus: MakeCorpus, split: str) -> None:
    root = make_corpus()
    shutil.rmtree(root / split)
    assert f"has no folder {split}" in refusal(root)


def test_refuses_an_empty_split(make_corpus: MakeCorpus) -> None:
    root = make_corpus()
    shutil.rmtree(root / "val")
    (root / "val").mkdir()
    assert "contains no singer folders" in refusal(root)


def test_refuses_a_singer_without_utterances(make_corpus: MakeCorpus) -> None:
    root = make_corpus()
    (root / "train/nobody").mkdir()
    (root / "train/nobody/notes.txt").touch()
    assert "singer nobody has no utterances (1 other files)" in refusal(root)


def test_refuses_a_singer_in_two_splits(make_corpus: MakeCorpus) -> None:
    root = make_corpus()
    shutil.copytree(root / "train/train_singer1", root / "val/train_singer1")
    assert "train_singer1 in more than one split" in refusal(root)


def test_refuses_audio_mixed_with_ready_features(make_corpus: MakeCorpus) -> None:
    root = make_corpus()
    (root / "val/val_singer0/song9.npy").touch()
    assert "contains 15 audio files and 1 .npy files; expected only one kind" in refusal(root)
