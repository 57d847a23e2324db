"""The packed store: computed once, continued after an interruption, read by slicing."""

import importlib
import logging
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from support.audio import SAMPLE_RATE, MakeCorpus, sing

from singer_verify.corpora.corpus import read_corpus
from singer_verify.data.split_stores import require_disjoint_recordings
from singer_verify.errors import SingerVerifyError
from singer_verify.features import recipe
from singer_verify.features.energy import Energy
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.normalisation import Normalisation
from singer_verify.features.precomputed import read_feat_params
from singer_verify.store import extraction, utterance_frames
from singer_verify.store import packed as packed_store
from singer_verify.store.extraction import load_or_compute_store
from singer_verify.store.packed import NormalisedStore, PackedStore, fit_normalisation, open_store
from singer_verify.store.utterance_frames import extract_frames

SPLITS = ("train", "val")


def store_folder(tmp_path: Path) -> Path:
    (folder,) = (entry for entry in (tmp_path / "store").iterdir() if entry.is_dir())
    return folder


def packed(lengths: list[int], bins: int = 2, dtype: str = "float32") -> PackedStore:
    """Frames that tell their utterance and their place in it: (utterance + 1, place + 1)."""
    frames = np.concatenate([np.stack([np.full(n, u + 1), np.arange(n) + 1], 1) for u, n in enumerate(lengths)])
    return PackedStore(
        frames.astype(dtype)[:, :bins],
        np.concatenate([[0], np.cumsum(lengths)]),
        np.zeros(len(lengths), np.int64),
        ("a",),
        np.array([str(number) for number in range(len(lengths))], object),
        {},
    )


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_holds_the_frames_of_every_utterance(
    make_corpus: MakeCorpus, tmp_path: Path, dtype: str, num_workers: int
) -> None:
    corpus = read_corpus(make_corpus())
    store = load_or_compute_store(corpus, "train", MelSpectrogram(40), tmp_path / "store", dtype, num_workers)
    assert store.singers == corpus.splits["train"].singers
    for index, path in enumerate(store.paths):
        expected = extract_frames(corpus.root / path, MelSpectrogram(40)).numpy().astype(dtype)
        np.testing.assert_array_equal(store.get_utterance_frames(index), expected)


def test_is_computed_once(make_corpus: MakeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = read_corpus(make_corpus())
    load_or_compute_store(corpus, "train", MelSpectrogram(40), tmp_path / "store")
    monkeypatch.setattr(utterance_frames, "extract_frames", None)
    assert len(load_or_compute_store(corpus, "train", MelSpectrogram(40), tmp_path / "store").paths) == 9


def test_what_is_computed_and_what_was_computed_before_is_told(
    make_corpus: MakeCorpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="singer_verify")
    corpus = read_corpus(make_corpus())
    said = []
    for _ in range(2):
        caplog.clear()
        load_or_compute_store(corpus, "train", MelSpectrogram(40), tmp_path / "store")
        said.append([line for line in caplog.messages if "frames of 9 recordings" in line])
    (first,), (second,) = said
    assert first.endswith("-train: computing the frames of 9 recordings, once (MelSpectrogram).")
    assert second.endswith("the frames of 9 recordings were computed before.")


def test_another_recipe_or_a_changed_file_makes_another_store(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus()
    for feature in (MelSpectrogram(40), MelSpectrogram(20), MelSpectrogram(40, hop_ms=5)):
        load_or_compute_store(read_corpus(root), "train", feature, tmp_path / "store")
    soundfile.write(root / "train/train_singer0/song0.flac", sing(99, 1.1), SAMPLE_RATE)
    load_or_compute_store(read_corpus(root), "train", MelSpectrogram(40), tmp_path / "store")
    assert len([entry for entry in (tmp_path / "store").iterdir() if entry.is_dir()]) == 4


def test_a_store_of_another_version_is_computed_again(
    make_corpus: MakeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = read_corpus(make_corpus())
    for module in (extraction, packed_store, extraction):
        monkeypatch.setattr(module, "FORMAT_VERSION", 2)
    load_or_compute_store(corpus, "val", Energy(), tmp_path / "store")
    for module in (extraction, packed_store, extraction):
        monkeypatch.setattr(module, "FORMAT_VERSION", 3)
    assert len(load_or_compute_store(corpus, "val", Energy(), tmp_path / "store").paths) == 6
    assert len([entry for entry in (tmp_path / "store").iterdir() if entry.is_dir()]) == 2


def test_recipes_of_ours_have_a_version(
    make_corpus: MakeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = read_corpus(make_corpus())
    for version in (1, 2, 1):
        monkeypatch.setattr(recipe, "RECIPE_CODE_VERSION", version)
        load_or_compute_store(corpus, "val", Energy(), tmp_path / "store")
    assert len([entry for entry in (tmp_path / "store").iterdir() if entry.is_dir()]) == 2


@pytest.mark.parametrize("changed", ["loudness.py", "scale.py"])
def test_a_recipe_from_elsewhere_whose_code_changed_is_computed_again(
    changed: str, make_corpus: MakeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a package, the module of the class and what it imports from the package count, and nothing else."""
    package = tmp_path / f"recipes_{changed.removesuffix('.py')}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "scale.py").write_text("FACTOR = 1\n")
    (package / "unrelated.py").write_text("FACTOR = 1\n")
    (package / "loudness.py").write_text(
        "from singer_verify.features.energy import Energy\n"
        "from .scale import FACTOR\n"
        "class Loudness(Energy):\n"
        "    recipe = {'_target_': __name__ + '.Loudness'}\n"
        "    def __call__(self, samples):\n"
        "        return FACTOR * super().__call__(samples)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    corpus = read_corpus(make_corpus())

    def mean_of_frames() -> float:
        for name in [name for name in sys.modules if name.split(".")[0] == package.name]:
            del sys.modules[name]
        importlib.invalidate_caches()
        feature = importlib.import_module(f"{package.name}.loudness").Loudness()
        return float(load_or_compute_store(corpus, "val", feature, tmp_path / "store", "float32").frames.mean())

    before = mean_of_frames()
    (package / "unrelated.py").write_text("FACTOR = 2\n")
    assert mean_of_frames() == before
    assert len([entry for entry in (tmp_path / "store").iterdir() if entry.is_dir()]) == 1
    source = (package / changed).read_text()
    (package / changed).write_text(source.replace("FACTOR *", "100 *").replace("= 1", "= 100"))
    assert mean_of_frames() == pytest.approx(100 * before, rel=1e-5)


def test_a_link_to_nothing_is_said(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus()
    (root / "train/train_singer0/moved.flac").symlink_to(tmp_path / "gone.flac")
    with pytest.raises(SingerVerifyError, match=r"moved.flac: links to .*gone.flac, which cannot be read \(No such"):
        load_or_compute_store(read_corpus(root), "train", MelSpectrogram(40), tmp_path / "store")


def test_continues_after_an_interruption(
    make_corpus: MakeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = read_corpus(make_corpus())
    computed: list[Path] = []

    def interrupted(path: Path, *arguments: Any) -> torch.Tensor:
        if len(computed) == 4:
            raise KeyboardInterrupt
        computed.append(path)
        return extract_frames(path, *arguments)

    monkeypatch.setattr(utterance_frames, "extract_frames", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_or_compute_store(corpus, "train", MelSpectrogram(40), tmp_path / "store")
    folder = store_folder(tmp_path)
    with pytest.raises(SingerVerifyError, match="is not a finished store"):
        open_store(folder)
    with open(folder / "frames.bin", "ab") as frames_file, open(folder / "index.csv", "a") as index_file:
        frames_file.write(b"half an utterance")
        index_file.write("train/train_singer1/so")
    monkeypatch.setattr(utterance_frames, "extract_frames", extract_frames)
    continued = load_or_compute_store(corpus, "train", MelSpectrogram(40), tmp_path / "store")
    whole = load_or_compute_store(corpus, "train", MelSpectrogram(40), tmp_path / "other")
    np.testing.assert_array_equal(continued.frames, whole.frames)
    assert continued.paths.tolist() == whole.paths.tolist()
    assert len(computed) == 4


def test_two_at_once_compute_it_once(make_corpus: MakeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = read_corpus(make_corpus())
    computed: list[Path] = []

    def counted(path: Path, *arguments: Any) -> torch.Tensor:
        computed.append(path)
        return extract_frames(path, *arguments)

    monkeypatch.setattr(utterance_frames, "extract_frames", counted)
    stores: list[PackedStore] = []
    work = [
        threading.Thread(
            target=lambda: stores.append(load_or_compute_store(corpus, "train", MelSpectrogram(40), tmp_path / "store"))
        )
        for _ in range(2)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert len(computed) == 9
    np.testing.assert_array_equal(stores[0].frames, stores[1].frames)


def test_useless_files_are_named_skipped_and_counted(
    make_corpus: MakeCorpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_corpus()
    (root / "train/train_singer0/song1.flac").write_bytes(b"")
    for _ in range(2):  # said again when the store is used again
        caplog.clear()
        store = load_or_compute_store(read_corpus(root), "train", MelSpectrogram(40), tmp_path / "store")
        assert len(store.paths) == 8
        assert "song1.flac: file is empty" in caplog.text
        assert "train: 1 of 9 utterances skipped" in caplog.text


def test_refuses_a_singer_who_lost_everything(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus(utterances=2)
    for path in (root / "train/train_singer1").iterdir():
        path.write_bytes(b"")
    with pytest.raises(SingerVerifyError, match="none of the utterances of train_singer1 can be used"):
        load_or_compute_store(read_corpus(root), "train", MelSpectrogram(40), tmp_path / "store")


def test_a_full_disk_is_said_and_costs_only_the_rest(
    make_corpus: MakeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = read_corpus(make_corpus())
    append, calls = extraction._append_utterance, []

    def full(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) > 5:
            raise OSError(28, "No space left on device")
        append(*arguments)

    monkeypatch.setattr(extraction, "_append_utterance", full)
    with pytest.raises(SingerVerifyError, match="No space left on device"):
        load_or_compute_store(corpus, "train", MelSpectrogram(40), tmp_path / "store")
    monkeypatch.setattr(extraction, "_append_utterance", append)
    assert len(load_or_compute_store(corpus, "train", MelSpectrogram(40), tmp_path / "store").paths) == 9


def test_ready_features_are_packed_as_they_are(make_ready_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_ready_corpus()
    store = load_or_compute_store(read_corpus(root), "train", read_feat_params(root), tmp_path / "store", "float32")
    np.testing.assert_allclose(store.get_utterance_frames(1), np.load(root / store.paths[1]), rtol=1e-6)


def test_crops_start_where_they_should() -> None:
    crops = packed([10, 6]).read_crops(np.array([1, 0, 0]), np.array([2, 0, 7]), 3)
    np.testing.assert_array_equal(crops[:, :, 0], [[2, 2, 2], [1, 1, 1], [1, 1, 1]])
    np.testing.assert_array_equal(crops[:, :, 1], [[3, 4, 5], [1, 2, 3], [8, 9, 10]])


@pytest.mark.parametrize("length", [1, 100, 153, 300, 306, 307])
def test_a_short_utterance_is_repeated_until_the_window_is_full(length: int) -> None:
    """An earlier encoder kept 150 of 300 frames in a window of 307, between zeros."""
    crops = packed([length, 400]).read_crops(np.array([0, 1]), np.array([0, 50]), 307)
    np.testing.assert_array_equal(crops[0, :, 1], np.resize(np.arange(length) + 1, 307))
    np.testing.assert_array_equal(crops[1, :, 1], np.arange(307) + 51)


@pytest.mark.parametrize("damage", ["frames.bin", "index.csv", "store.json"])
def test_refuses_a_truncated_store(make_corpus: MakeCorpus, tmp_path: Path, damage: str) -> None:
    load_or_compute_store(read_corpus(make_corpus()), "train", MelSpectrogram(40), tmp_path / "store")
    folder = store_folder(tmp_path)
    content = (folder / damage).read_bytes()
    (folder / damage).write_bytes(content[: len(content) // 2])
    with pytest.raises(SingerVerifyError, match="delete"):
        open_store(folder)


def test_a_recording_in_two_splits_is_refused(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus()

    def check() -> None:
        corpus = read_corpus(root)
        require_disjoint_recordings(
            root, *(load_or_compute_store(corpus, split, Energy(), tmp_path / "store") for split in SPLITS)
        )

    check()
    samples, sample_rate = soundfile.read(root / "train/train_singer2/song1.flac", dtype="int16")
    for copy in ("copy.flac", "copy.wav"):
        soundfile.write(root / "val/val_singer0" / copy, samples, sample_rate)
        with pytest.raises(
            SingerVerifyError, match=rf"train_singer2/song1.flac and .*val_singer0/{copy}: the same rec"
        ):
            check()
        (root / "val/val_singer0" / copy).unlink()


def test_a_part_of_a_store_is_a_store_of_these_utterances() -> None:
    generator = np.random.default_rng(3)
    lengths, singer_index = np.array([7, 12, 5, 9, 20]), np.array([0, 0, 1, 2, 2])
    offsets = np.concatenate([[0], lengths.cumsum()])
    frames = generator.random((int(lengths.sum()), 3)).astype(np.float32)
    paths = np.array([f"{name}.wav" for name in "abcde"], object)
    whole = PackedStore(frames, offsets, singer_index, ("x", "y", "z"), paths, {}, contents=np.arange(5))
    part = whole.select({"b.wav", "d.wav", "e.wav", "elsewhere.wav"})
    kept = [1, 3, 4]
    alone = PackedStore(
        np.concatenate([whole.get_utterance_frames(row) for row in kept]),
        np.concatenate([[0], lengths[kept].cumsum()]),
        np.array([0, 1, 1]),
        ("x", "z"),
        paths[kept],
        {},
    )
    assert (part.singers, part.paths.tolist()) == (alone.singers, alone.paths.tolist())
    assert part.contents.tolist() == kept
    np.testing.assert_array_equal(part.singer_index, alone.singer_index)
    np.testing.assert_array_equal(part.num_frames, alone.num_frames)
    rows, starts = np.array([2, 0, 1, 2]), np.array([8, 1, 0, 1])
    for num_frames in (6, 11):  # and longer than some
        np.testing.assert_array_equal(
            part.read_crops(rows, starts, num_frames), alone.read_crops(rows, starts, num_frames)
        )
    for name in ("utterance_bins", "global_bins"):
        crops = [
            NormalisedStore(store, fit_normalisation(Normalisation(name), store)).read_crops(rows, starts, 6)
            for store in (part, alone)
        ]
        np.testing.assert_array_equal(*crops)
    again = part.select({"e.wav"})
    np.testing.assert_array_equal(again.get_utterance_frames(0), whole.get_utterance_frames(4))
    assert len({whole.fingerprint, part.fingerprint, again.fingerprint}) == 3


def test_a_refusal_ends_the_progress_display(
    make_corpus: MakeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its threads would block the display of the next extraction in the same process, as in a sweep."""

    def refuse(*_: object) -> None:
        raise SingerVerifyError("two singers")

    monkeypatch.setattr(extraction, "skip_copy", refuse)
    threads = set(threading.enumerate())
    with pytest.raises(SingerVerifyError, match="two singers") as refusal:
        load_or_compute_store(read_corpus(make_corpus()), "train", MelSpectrogram(40), tmp_path / "store")
    started = set(threading.enumerate()) - threads
    for thread in started:
        thread.join(timeout=2)
    assert not any(thread.is_alive() for thread in started), refusal.traceback  # which holds what was under way
