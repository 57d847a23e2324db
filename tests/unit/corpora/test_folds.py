"""Folds over singers: each singer is judged once, and neither trained on nor chosen on where they are judged."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.audio import MakeCorpus
from support.cli import refusal
from support.train_process import PROJECT

from singer_verify.corpora.corpus import Recording, read_corpora
from singer_verify.corpora.folds import assign_folds, divide_into_folds
from singer_verify.corpora.splits import add_fold_labels
from singer_verify.errors import SingerVerifyError


@pytest.mark.parametrize("num_folds", [3, 5, 7])
@pytest.mark.parametrize("seed", range(4))
def test_folds_have_equally_many_singers_of_each_group(num_folds: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    singers = [f"singer{number}" for number in range(int(generator.integers(3 * num_folds, 6 * num_folds)))]
    sizes = {singer: int(generator.integers(1, 60)) for singer in singers}
    groups = {singer: str(generator.choice(["female", "male"])) for singer in singers}
    folds = assign_folds(sizes, groups, num_folds)
    assert folds.keys() == sizes.keys()
    assert folds == assign_folds(dict(reversed(sizes.items())), groups, num_folds)
    of_group = [
        np.bincount([fold for singer, fold in folds.items() if groups[singer] == group], minlength=num_folds)
        for group in ("female", "male")
    ]
    for counts in (*of_group, sum(of_group)):
        assert np.ptp(counts) <= 1
    utterances = np.bincount(list(folds.values()), [sizes[singer] for singer in folds], num_folds)
    assert np.ptp(utterances) < 70  # little more than the largest singer


def test_worked_example() -> None:
    sizes = {"a": 9, "b": 5, "c": 5, "d": 1, "e": 7, "f": 2}
    groups = dict.fromkeys("abcd", "female") | dict.fromkeys("ef", "male")
    assert assign_folds(sizes, groups, 3) == {"a": 0, "b": 1, "c": 2, "d": 1, "e": 2, "f": 0}


def test_every_singer_is_judged_once_and_is_elsewhere_never_in_two_splits(make_corpus: MakeCorpus) -> None:
    corpus = read_corpora([make_corpus(train=5, val=3, utterances=1, seconds=0.2)], required=())
    divided = [divide_into_folds(corpus, 4, fold) for fold in range(4)]
    judged = [singer for part in divided for singer in part.splits["test"].singers]
    assert sorted(judged) == sorted(corpus.splits["train"].singers + corpus.splits["val"].singers)
    for fold, part in enumerate(divided):
        names = [set(part.splits[name].singers) for name in ("train", "val", "test")]
        assert sum(map(len, names)) == len(set.union(*names)) == 8
        assert part.splits["val"].singers == divided[(fold + 1) % 4].splits["test"].singers
        assert part.whole is not None
        assert part.whole.splits["all"].utterances == divided[0].whole.splits["all"].utterances


def test_several_corpora_are_divided_each_on_its_own(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    first = make_corpus(train=4, val=2, utterances=1, seconds=0.2).rename(tmp_path / "first")
    second = make_corpus(train=3, val=3, utterances=1, seconds=0.2).rename(tmp_path / "second")
    part = divide_into_folds(read_corpora([first, second], required=()), 3, 1)
    for split in part.splits.values():
        assert sorted(singer.partition("/")[0] for singer in split.singers) == ["first"] * 2 + ["second"] * 2


def test_labels_say_which_fold_a_singer_is_in(make_corpus: MakeCorpus) -> None:
    root = make_corpus(train=6, val=2, utterances=1, seconds=0.2)
    singers = [f"train_singer{number}" for number in range(6)] + ["val_singer0", "val_singer1"]
    labels = pd.DataFrame({"singer": singers, "fold": ["b", "a", "c", "b", "a", "c", "a", "c"]})
    labels.to_csv(root / "corpus.csv", index=False)
    part = divide_into_folds(read_corpora([root], required=()), 3, 0)
    assert part.splits["test"].singers == ("train_singer1", "train_singer4", "val_singer0")
    assert part.splits["val"].singers == ("train_singer0", "train_singer3")
    labels.assign(fold=["b", "a", "c", "b", "a", "c", "a", "b"]).to_csv(root / "corpus.csv", index=False)
    with pytest.raises(SingerVerifyError, match=r"has the folds a with 3 singers, b with 3 singers, c with 2 singers"):
        divide_into_folds(read_corpora([root], required=()), 4, 0)
    labels.assign(fold=["b", "", "c", "b", "a", "c", "a", "b"]).to_csv(root / "corpus.csv", index=False)
    with pytest.raises(SingerVerifyError, match=r"gives train_singer1 the folds ''; expected one fold for all"):
        divide_into_folds(read_corpora([root], required=()), 3, 0)


@pytest.mark.parametrize(
    ("folds", "fold", "said"),
    [
        (2, 0, r"data\.folds=2: expected an integer of at least 3"),
        (3, 3, r"data\.fold=3: expected a number from 0 to 2"),
        (3, -1, r"data\.fold=-1: expected a number from 0 to 2"),
        (3, 0, r"has 5 singers in the folders train, val and test; data\.folds=3 needs at least 6, 2 in each fold"),
    ],
)
def test_refusals(folds: int, fold: int, said: str, make_corpus: MakeCorpus) -> None:
    corpus = read_corpora([make_corpus(train=3, val=2, utterances=1, seconds=0.2)], required=())
    with pytest.raises(SingerVerifyError, match=said):
        divide_into_folds(corpus, folds, fold)


def test_a_prepared_corpus_has_its_folds_as_labels(tmp_path: Path) -> None:
    recordings = [
        Recording(tmp_path, f"s{singer}", f"{take}.wav", {"gender": "female" if singer % 2 else "male"})
        for singer in range(8)
        for take in range(3)
    ]
    labelled = add_fold_labels(recordings, 4)
    folds = {recording.singer: recording.labels["fold"] for recording in labelled}
    assert sorted(folds.values()) == sorted("01230123")
    assert all(recording.labels["fold"] == folds[recording.singer] for recording in labelled)
    with pytest.raises(SingerVerifyError, match=r"--folds 5: expected at least 10 singers, 2 in each fold; found 8"):
        add_fold_labels(recordings, 5)
    with pytest.raises(SingerVerifyError, match=r"have a label fold of their own"):
        add_fold_labels(labelled, 4)


def test_prepare_refuses_too_many_folds(tmp_path: Path) -> None:
    said = refusal("prepare", "folder", PROJECT / "example_dataset/val", "--out", tmp_path / "out", "--folds", "4")
    assert "--folds 4: expected at least 8 singers" in said
