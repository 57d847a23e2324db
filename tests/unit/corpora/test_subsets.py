"""Subsets of singers and of minutes: nested, stable, balanced, and never touching who is validated or judged."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.errors import HydraException
from support.audio import MakeCorpus
from support.resuming import stopped_and_continued
from support.tiny_run import make_corpus as make_precomputed_corpus
from support.tiny_run import run, tiny
from support.train_process import prepare

from singer_verify.cli.console import format_user_error
from singer_verify.corpora.corpus import Corpus, read_corpora
from singer_verify.corpora.folds import divide_into_folds
from singer_verify.corpora.subsets import choose_singers, choose_utterances, limit_singers
from singer_verify.data.datamodule import SingerDataModule
from singer_verify.errors import SingerVerifyError
from singer_verify.runs.settings import read_settings
from singer_verify.runs.tree import read_run_metrics


def draw_genders(generator: np.random.Generator, num_corpora: int) -> dict[str, str]:
    """Singers of some corpora, with genders in any proportion, some of them unknown."""
    return {
        f"corpus{corpus}/s{number}" if num_corpora > 1 else f"s{number}": str(
            generator.choice(["female", "male", ""], p=[0.6, 0.3, 0.1])
        )
        for corpus in range(num_corpora)
        for number in range(int(generator.integers(2, 12)))
    }


@pytest.mark.parametrize("num_corpora", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_subsets_of_singers_are_nested_and_balanced(num_corpora: int, seed: int) -> None:
    genders = draw_genders(np.random.default_rng([num_corpora, seed]), num_corpora)
    before: list[str] = []
    for max_singers in range(2, len(genders) + 2):
        chosen = choose_singers(genders, max_singers, seed)
        assert chosen == choose_singers(dict(reversed(genders.items())), max_singers, seed)
        assert chosen[: len(before)] == before
        assert len(chosen) in (max_singers, min(max_singers - 1, len(genders)))
        of_corpus: dict[str, list[str]] = {}
        for singer in chosen:
            of_corpus.setdefault(singer.rpartition("/")[0], []).append(singer)
        assert min(map(len, of_corpus.values())) >= 2
        left = {name: [s for s in genders.keys() - set(chosen) if s.rpartition("/")[0] == name] for name in of_corpus}
        open_sizes = [len(singers) for name, singers in of_corpus.items() if left[name]]
        if len(chosen) >= 2 * num_corpora and open_sizes:  # each corpus as many as any other, if it has them
            assert max(map(len, of_corpus.values())) <= min(open_sizes) + 1
        for name, singers in of_corpus.items():
            counts = {g: sum(genders[s] == g for s in singers) for g in set(genders.values())}
            open_counts = [counts[genders[singer]] for singer in left[name]]
            if open_counts:
                assert max(counts.values()) <= min(open_counts) + 1
        before = chosen
    assert set(before) == genders.keys()


@pytest.mark.parametrize("seed", range(10))
def test_another_singer_displaces_at_most_one(seed: int) -> None:
    genders = draw_genders(np.random.default_rng(seed), 1)
    for gender in ("female", "male"):
        for max_singers in range(2, len(genders)):
            alone = set(choose_singers(genders, max_singers, seed))
            assert len(alone - set(choose_singers(genders | {"new": gender}, max_singers, seed))) <= 1


def test_seeds_draw_other_singers() -> None:
    genders = dict.fromkeys((f"s{number}" for number in range(20)), "")
    drawn = [tuple(choose_singers(genders, 2, seed)) for seed in range(20)]
    assert len(set(drawn)) > 15


def test_worked_example_of_singers() -> None:
    """In the order of SHA-256 of seed and name, women and men in turn."""

    def order(*names: str) -> list[str]:
        return sorted(names, key=lambda name: hashlib.sha256(f"7\0{name}".encode()).hexdigest())

    women, men = order("anna", "berta", "clara", "dora"), order("emil", "franz")
    genders = dict.fromkeys(women, "female") | dict.fromkeys(men, "male")
    first, second = sorted(
        (women, men), key=lambda group: hashlib.sha256(f"7\0\0{genders[group[0]]}".encode()).digest()
    )
    expected = [first[0], second[0], first[1], second[1], *women[2:]]
    for max_singers in (2, 3, 4, 5, 6):
        assert choose_singers(genders, max_singers, 7) == expected[:max_singers]


def draw_utterances(generator: np.random.Generator) -> tuple[list[str], list[str], np.ndarray]:
    """Singers, paths and minutes of the utterances of a corpus."""
    singers = [f"s{number}" for number in range(4) for _ in range(int(generator.integers(1, 15)))]
    paths = [f"train/{singer}/song{number % 3}/{number}.wav" for number, singer in enumerate(singers)]
    return singers, paths, generator.exponential(0.3, len(paths))


@pytest.mark.parametrize("seed", range(6))
def test_subsets_of_minutes_are_nested_and_do_not_depend_on_other_singers(seed: int) -> None:
    corpus = Corpus(Path("root"), {})
    singers, paths, minutes = draw_utterances(np.random.default_rng(seed))
    duration = dict(zip(paths, minutes, strict=True))
    before: set[str] = set()
    for limit in (0.01, 0.2, 0.5, 1.0, 2.5, 100.0):
        chosen = set(choose_utterances(corpus, singers, paths, minutes, limit, seed))
        assert before <= chosen
        for singer in set(singers):
            own = [path for path in chosen if f"/{singer}/" in path]
            assert len(own) == 1 or sum(duration[path] for path in own) <= limit * (1 + 1e-9)
            rows = [row for row, name in enumerate(singers) if name == singer][::-1]
            alone = [singer] * len(rows), [paths[row] for row in rows], minutes[rows]
            assert set(own) == set(choose_utterances(corpus, *alone, limit, seed))
        before = chosen
    assert before == set(paths)


def test_the_utterance_that_crosses_the_limit_is_left_out_and_ends_the_subset() -> None:
    corpus, paths = Corpus(Path("root"), {}), [f"val/anna/{number}.wav" for number in range(4)]
    order = sorted(range(4), key=lambda n: hashlib.sha256(f"1\0anna\0{n}.wav".encode()).hexdigest())
    minutes = np.zeros(4)
    minutes[order] = [0.5, 0.25, 0.5, 0.1]
    for limit, expected in ((0.1, 1), (0.74, 1), (0.75, 2), (1.2, 2), (1.25, 3), (1.35, 4), (9.0, 4)):
        chosen = choose_utterances(corpus, ["anna"] * 4, paths, minutes, limit, 1)
        assert set(chosen) == {paths[row] for row in order[:expected]}


def test_another_split_or_a_third_corpus_does_not_change_the_order() -> None:
    singers, names = ["a/anna"] * 9, [f"{number}.wav" for number in range(9)]
    minutes = np.ones(9)
    chosen = []
    for root, folder in ((Path("/c"), "a/train"), (Path("/"), "c/a/val")):
        corpus = Corpus(root, {}, (Path("/c/a"), Path("/c/b")))
        paths = [f"{folder}/anna/{name}" for name in names]
        kept = choose_utterances(corpus, singers, paths, minutes, 4.0, 3)
        chosen.append({path.rpartition("/")[2] for path in kept})
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 4


def describe(data: SingerDataModule) -> dict[str, tuple[tuple[str, ...], list[str]]]:
    return {split: (store.singers, store.paths.tolist()) for split, store in data.stores.items()}


def test_all_sizes_share_one_store_and_validate_the_same_singers(
    make_corpus: MakeCorpus, caplog: pytest.LogCaptureFixture
) -> None:
    """Samples are stored, of which frames are computed on the fly, and frames, which normalise them."""
    root = make_corpus(train=4, val=2, utterances=3, seconds=0.6)
    settings = ("data.on_the_fly=true", "features.normalise=global_bins")
    with caplog.at_level(logging.INFO, "singer_verify"):
        small = prepare(root, *settings, "data.max_singers=2", "data.max_minutes=0.021")
    assert "data.max_singers=2: learning from 2 of 4 training singers: " in caplog.text
    assert "data.max_minutes=0.021: learning from 4 of 6 utterances and 0.0 of 0.1 minutes, 0.02 to 0." in caplog.text
    stores = sorted((root.parent / "store").iterdir())
    large, whole = prepare(root, *settings, "data.max_singers=3"), prepare(root, *settings)
    assert sorted((root.parent / "store").iterdir()) == stores
    assert describe(small)["val"] == describe(large)["val"] == describe(whole)["val"]
    assert [len(data.train_singers) for data in (small, large, whole)] == [2, 3, 4]
    paths = [set(describe(data)["train"][1]) for data in (small, large, whole)]
    assert paths[0] < paths[1] < paths[2]
    assert [len(part) for part in paths] == [4, 9, 12]
    assert small.train_minutes == pytest.approx(4 * 0.01, rel=0.03)
    assert whole.train_minutes == pytest.approx(12 * 0.01, rel=0.03)
    assert small.normalisation.statistics != whole.normalisation.statistics  # those of the subset alone
    assert small.describe_shapes()["num_singers"] == 2


def test_limits_that_are_not_reached_change_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make_precomputed_corpus(tmp_path / "corpus")
    whole = prepare(root)
    with caplog.at_level(logging.INFO, "singer_verify"):
        limited = prepare(root, "data.max_singers=64", "data.max_minutes=5")
    assert "data.max_singers=64: there are 5 training singers; all are used." in caplog.text
    assert limited.describe_contents() == whole.describe_contents()
    for step in range(5):
        assert limited.list_batch_utterances(step) == whole.list_batch_utterances(step)


def test_a_subset_of_the_training_folds_leaves_the_others_alone(tmp_path: Path) -> None:
    root = make_precomputed_corpus(tmp_path / "corpus", num_train=7, num_val=3)
    singers = [f"train{number}" for number in range(7)] + [f"val{number}" for number in range(3)]
    genders = ["female", "male"] * 5
    pd.DataFrame({"singer": singers, "gender": genders}).to_csv(root / "corpus.csv", index=False)
    corpus = read_corpora([root], required=())
    for fold in range(4):
        divided = divide_into_folds(corpus, 4, fold)
        small, large = (limit_singers(divided, number, 1) for number in (2, 4))
        for limited in (small, large):
            assert limited.splits["val"] == divided.splits["val"]
            assert limited.splits["test"] == divided.splits["test"]
            assert limited.whole == divided.whole
        assert set(small.splits["train"].singers) < set(large.splits["train"].singers)
        assert set(large.splits["train"].singers) <= set(divided.splits["train"].singers)
        named = dict(zip(singers, genders, strict=True))
        assert {named[singer] for singer in small.splits["train"].singers} == {"female", "male"}
    folds = ("data.folds=3", "data.fold=0", "data.max_singers=2", "data.max_minutes=0.001")
    data = prepare(root, *folds)
    assert [len(store.singers) for store in data.stores.values()] == [2, 3]
    assert len(data.stores["train"].paths) == 2


def test_several_corpora_take_turns_and_none_has_a_single_singer(
    make_corpus: MakeCorpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    roots = [make_corpus(train=4, val=2, utterances=1, seconds=0.3).rename(tmp_path / name) for name in ("a", "b")]
    corpus = read_corpora(roots)
    sizes = {}
    with caplog.at_level(logging.INFO, "singer_verify"):
        for number in range(2, 9):
            singers = limit_singers(corpus, number, 1).splits["train"].singers
            sizes[number] = sorted(np.unique([s[0] for s in singers], return_counts=True)[1].tolist())
    assert sizes == {2: [2], 3: [2], 4: [2, 2], 5: [2, 3], 6: [3, 3], 7: [3, 4], 8: [4, 4]}
    assert "data.max_singers=3: learning from 2 of 8 training singers, because the first singers of each" in caplog.text


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("data.max_singers=1", "data.max_singers=1: expected an integer of at least 2"),
        ("data.max_minutes=0", "data.max_minutes=0: expected a positive number of minutes of each singe"),
        ("data.max_minutes=-1", "data.max_minutes=-1: expected a positive numbe"),
        ("data.max_minutes=nan", "data.max_minutes=nan: expected a positive numbe"),
    ],
)
def test_refusals(setting: str, said: str, tmp_path: Path) -> None:
    root = make_precomputed_corpus(tmp_path / "corpus")
    with pytest.raises(HydraException) as refusal:
        prepare(root, setting)
    assert said in format_user_error(refusal.value)


@pytest.mark.slow
def test_a_training_records_its_size_and_resumes_with_the_same_subset(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    corpus = make_precomputed_corpus(tmp_path / "corpus", num_train=6)
    limits = ("data.max_singers=2", "data.max_minutes=0.009", "loss=ge2e+ce")
    folder = stopped_and_continued(monkeypatch, tmp_path / "run", "in the middle of a cycle", corpus, *limits)
    metrics, settings = read_run_metrics(folder), read_settings(folder)
    assert metrics is not None
    assert metrics["num_train_singers"] == settings["from_data"]["num_singers"] == 2
    assert 0.008 < metrics["train_minutes"] <= 0.018
    assert settings["data"]["max_singers"] == 2
    assert settings["corpus"]["train"].startswith("2 singers, ")
    with pytest.raises(SingerVerifyError, match=r"data\.max_singers 2 → 4.*cannot change while a training continues"):
        run(monkeypatch, f"resume={folder}", "data.max_singers=4")
    with pytest.raises(SingerVerifyError, match=r"data\.max_minutes 0\.009 → 5"):
        run(monkeypatch, f"resume={folder}", "data.max_minutes=5")
    uninterrupted = run(monkeypatch, *tiny(corpus), *limits, folder=tmp_path / "whole")
    assert read_settings(uninterrupted)["corpus"] == settings["corpus"]
