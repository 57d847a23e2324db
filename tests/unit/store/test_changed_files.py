"""A store notices what changed since it was computed: files, places, code; and what its data type cannot hold."""

import importlib
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from support.audio import SAMPLE_RATE, MakeCorpus, sing

from singer_verify.corpora.corpus import read_corpus
from singer_verify.data.datamodule import SingerDataModule
from singer_verify.data.split_stores import collect_recording_ids, require_disjoint_recordings
from singer_verify.errors import SingerVerifyError
from singer_verify.features import recipe
from singer_verify.features.energy import Energy
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.precomputed import read_feat_params
from singer_verify.store import extraction, file_states, utterance_frames
from singer_verify.store.extraction import load_or_compute_store
from singer_verify.store.file_states import compute_file_hash
from singer_verify.store.packed import PackedStore
from singer_verify.store.utterance_frames import extract_frames


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose frames were computed."""
    names: list[str] = []

    def count(path: Path, *arguments: Any) -> torch.Tensor:
        names.append(f"{path.parent.name}/{path.name}")
        return extract_frames(path, *arguments)

    monkeypatch.setattr(utterance_frames, "extract_frames", count)
    return names


def open_train(root: Path, store: str = "store") -> PackedStore:
    return load_or_compute_store(read_corpus(root), "train", Energy(), root.parent / store)


def replace_quietly(path: Path, seed: int) -> None:
    """Write another recording of the same size, and give it the old modification time."""
    before = os.stat(path)
    soundfile.write(path, sing(seed), SAMPLE_RATE)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def make_wavs(make_corpus: MakeCorpus) -> Path:
    root = make_corpus()
    for path in root.rglob("*.flac"):
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path.with_suffix(".wav"), samples, rate)
        path.unlink()
    return root


def assert_same_frames(store: PackedStore, root: Path) -> None:
    fresh = open_train(root, "fresh")
    np.testing.assert_array_equal(store.frames, fresh.frames)
    assert (store.paths.tolist(), store.fingerprint) == (fresh.paths.tolist(), fresh.fingerprint)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_file_of_the_same_size_and_time_is_noticed(
    make_corpus: MakeCorpus, computed: list[str], caplog: pytest.LogCaptureFixture, in_place: bool
) -> None:
    root = make_wavs(make_corpus)
    before = np.array(open_train(root).frames)
    path = root / "train/train_singer1/song0.wav"
    if in_place:
        replace_quietly(path, 77)
    else:
        other = path.with_name("other.part")
        shutil.copy2(path, other)
        soundfile.write(other, sing(77), SAMPLE_RATE, format="WAV")
        os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        os.replace(other, path)
    del computed[:]
    store = open_train(root)
    assert (
        "1 of its 9 files were replaced since its frames were computed (the first: train/train_singer1/so"
        in caplog.text
    )
    assert computed == ["train_singer1/song0.wav"]
    assert not np.array_equal(store.frames, before)
    assert_same_frames(store, root)
    del computed[:]
    open_train(root)
    assert computed == []


def test_a_corpus_that_is_moved_copied_or_touched_is_not_computed_again(
    make_corpus: MakeCorpus, computed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    root = make_corpus()
    (root / "train/train_singer0/song1.flac").write_bytes(b"")
    frames = np.array(open_train(root).frames)
    moved, copied = root.with_name("moved"), root.with_name("copied")
    root.rename(moved)
    del computed[:]
    np.testing.assert_array_equal(open_train(moved).frames, frames)
    assert f"{moved}/train/train_singer0/song1.flac: file is empty" in caplog.text
    shutil.copytree(moved, copied, copy_function=shutil.copy)  # which gives new times
    np.testing.assert_array_equal(open_train(copied).frames, frames)
    os.utime(moved / "train/train_singer0/song0.flac", (1, 1))
    os.chmod(moved / "train/train_singer0/song2.flac", 0o600)
    np.testing.assert_array_equal(open_train(moved).frames, frames)
    assert computed == []
    with caplog.at_level(logging.INFO, "singer_verify"):
        caplog.clear()
        open_train(moved)
    assert "comparing" not in caplog.text


def test_changed_files_are_compared_once(make_corpus: MakeCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_wavs(make_corpus)
    open_train(root)
    for path in root.rglob("*.wav"):
        os.utime(path, (1, 1))
    replace_quietly(root / "train/train_singer1/song0.wav", 77)
    compared: list[str] = []

    def count(path: Path) -> str:
        compared.append(str(path.relative_to(root)))
        return compute_file_hash(path)

    monkeypatch.setattr(file_states, "compute_file_hash", count)
    store = open_train(root)
    assert sorted(compared) == sorted(store.paths.tolist())
    assert_same_frames(store, root)


def test_files_are_compared_again_with_a_store_that_another_process_wrote(
    make_corpus: MakeCorpus, computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_wavs(make_corpus)
    open_train(root)
    replace_quietly(root / "train/train_singer1/song0.wav", 77)
    lock_store, waiting = extraction._lock_store, [True]

    def wait_for_other_process(folder: Path) -> Any:
        if waiting and waiting.pop():
            open_train(root)
            del computed[:]
        return lock_store(folder)

    monkeypatch.setattr(extraction, "_lock_store", wait_for_other_process)
    store = open_train(root)
    assert computed == []
    assert_same_frames(store, root)


def test_an_added_file_gives_another_store_and_leaves_the_first(make_corpus: MakeCorpus, computed: list[str]) -> None:
    root = make_wavs(make_corpus)
    open_train(root)
    added = root / "train/train_singer1/added.wav"
    soundfile.write(added, sing(77), SAMPLE_RATE)
    del computed[:]
    assert len(open_train(root).paths) == len(computed) == 10
    added.unlink()
    del computed[:]
    assert len(open_train(root).paths) == 9
    assert computed == []


def test_corpora_with_equal_names_and_sizes_have_their_own_stores(make_corpus: MakeCorpus, computed: list[str]) -> None:
    """For instance the same songs in another mix."""
    root = make_wavs(make_corpus)
    other = root.with_name("other") / "corpus"
    shutil.copytree(root, other)
    for number, path in enumerate(sorted(other.rglob("*.wav"))):
        soundfile.write(path, sing(9000 + number), SAMPLE_RATE)
    store = root.parent / "store"
    frames = [np.array(load_or_compute_store(read_corpus(at), "train", Energy(), store).frames) for at in (root, other)]
    del computed[:]
    for at, expected in zip((root, other, root), (*frames, frames[0]), strict=True):
        again = load_or_compute_store(read_corpus(at), "train", Energy(), store)
        np.testing.assert_array_equal(again.frames, expected)
    assert computed == []


def test_a_file_that_changes_during_an_interruption_is_read_again(
    make_corpus: MakeCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_wavs(make_corpus)

    def interrupt(path: Path, *arguments: Any) -> torch.Tensor:
        if path.parent.name == "train_singer2":
            raise KeyboardInterrupt
        return extract_frames(path, *arguments)

    monkeypatch.setattr(utterance_frames, "extract_frames", interrupt)
    with pytest.raises(KeyboardInterrupt):
        open_train(root)
    replace_quietly(root / "train/train_singer0/song1.wav", 77)
    monkeypatch.setattr(utterance_frames, "extract_frames", extract_frames)
    assert_same_frames(open_train(root), root)


def test_a_damaged_record_of_the_files_costs_a_comparison(make_corpus: MakeCorpus, computed: list[str]) -> None:
    root = make_wavs(make_corpus)
    open_train(root)
    (record,) = (root.parent / "store").glob("*/files.json")
    content = record.read_bytes()
    del computed[:]
    for damaged in (b"", content[:-9], b"[[1]]", b"[1]", b"{}", content.replace(b"1", b"2", 1)):
        record.write_bytes(damaged)
        open_train(root)
        assert record.read_bytes() == content
    record.write_bytes(b"")
    replace_quietly(root / "train/train_singer0/song1.wav", 77)
    assert computed == []
    assert_same_frames(open_train(root), root)


def test_copies_of_one_singer_are_kept_once(make_corpus: MakeCorpus, caplog: pytest.LogCaptureFixture) -> None:
    root = make_corpus(seconds=0.9)
    whole = open_train(root, "without")
    folder = root / "train/train_singer1"
    shutil.copy(folder / "song1.flac", folder / "song1 (1).flac")
    samples, rate = soundfile.read(folder / "song2.flac", dtype="int16")
    soundfile.write(folder / "take.wav", np.concatenate([0 * samples, samples])[:, None].repeat(2, 1), rate)
    for _ in range(2):
        caplog.clear()
        store = open_train(root)
        assert store.paths.tolist() == whole.paths.tolist()
        np.testing.assert_array_equal(store.frames, whole.frames)
        assert (
            f"Skipped: {folder}/song1 (1).flac: the same recording as train/train_singer1/song1.flac, wh" in caplog.text
        )
        assert "take.wav: the same recording as train/train_singer1/song2.flac, which is kept" in caplog.text
        assert "train: 2 of 11 utterances skipped" in caplog.text
    assert collect_recording_ids({"train": store})["train"].tolist() == whole.contents.tolist()
    assert len(set(whole.contents.tolist())) == 9


def test_a_recording_of_two_singers_is_refused(make_corpus: MakeCorpus) -> None:
    root = make_corpus()
    shutil.copy(root / "train/train_singer0/song1.flac", root / "train/train_singer2/theirs.flac")
    with pytest.raises(
        SingerVerifyError, match=r"singer0/song1.flac and .*singer2/theirs.flac: the same recording unde"
    ):
        open_train(root)
    (root / "train/train_singer2/theirs.flac").unlink()
    open_train(root)


def test_padded_clips_of_other_splits_are_not_accused(make_corpus: MakeCorpus) -> None:
    root = make_wavs(make_corpus)
    for number, path in enumerate(sorted(root.rglob("*.wav"))):
        silence = np.zeros(3 * SAMPLE_RATE, np.float32)
        soundfile.write(path, np.concatenate([silence[:8000], sing(number), silence]), SAMPLE_RATE)
    stores = [load_or_compute_store(read_corpus(root), split, Energy(), root / "store") for split in ("train", "val")]
    require_disjoint_recordings(root, *stores)


def test_precomputed_copies_are_found(make_ready_corpus: MakeCorpus) -> None:
    root = make_ready_corpus()
    frames = np.load(root / "train/train_singer0/song0.npy")
    np.save(root / "train/train_singer0/again.npy", frames)
    np.save(root / "val/val_singer0/again.npy", frames)
    stores = [
        load_or_compute_store(read_corpus(root), split, read_feat_params(root), root / "store")
        for split in ("train", "val")
    ]
    assert len(stores[0].paths) == 9
    with pytest.raises(SingerVerifyError, match="the same recording in both splits"):
        require_disjoint_recordings(root, *stores)


class Scaled(Energy):
    """Energy times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    @property
    def recipe(self) -> dict[str, Any]:
        return {"_target_": "singer_verify.features.energy.Scaled", "factor": self.factor}

    def __call__(self, samples: torch.Tensor) -> torch.Tensor:
        return self.factor * super().__call__(samples)


@pytest.mark.parametrize(("factor", "found"), [(1e5, "beyond the range of float16"), (1e-9, "too small for float16")])
def test_frames_that_float16_cannot_hold_are_refused(make_corpus: MakeCorpus, factor: float, found: str) -> None:
    root = make_corpus(utterances=1)
    read, feature = read_corpus(root), Scaled(factor)
    sentence = rf"train_singer0/song0.flac: its frames .*{found}.*energy.Scaled.*set data.store_dtype=float32"
    for num_workers in (0, 1):
        with pytest.raises(SingerVerifyError, match=sentence) as refusal:
            load_or_compute_store(read, "train", feature, root / "store", "float16", num_workers)
        assert "Traceback" not in str(refusal.value)
    store = load_or_compute_store(read, "train", feature, root / "store", "float32")
    assert np.isfinite(store.frames).all()
    assert np.abs(store.frames).max() > 0


def test_precomputed_frames_beyond_the_range_are_refused(make_ready_corpus: MakeCorpus) -> None:
    root = make_ready_corpus()
    np.save(root / "train/train_singer0/song0.npy", 1e5 * np.ones((60, 8)))
    with pytest.raises(SingerVerifyError, match=r"song0.npy: its frames reach 1e\+05, beyond the range of float16"):
        load_or_compute_store(read_corpus(root), "train", read_feat_params(root), root / "store")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_silence_within_the_range_is_no_loss(make_corpus: MakeCorpus, tmp_path: Path, dtype: str) -> None:
    store = load_or_compute_store(read_corpus(make_corpus()), "val", MelSpectrogram(40), tmp_path / "store", dtype)
    assert len(store.paths) == 6


MODULES = {
    "voice_recipes/__init__.py": "",
    "voice_recipes/loudness.py": (
        "from singer_verify.features.energy import Energy\n"
        "from voice_helpers import scaling\n"
        "from .base import Base\n"
        "class Loudness(Base):\n"
        "    recipe = {'_target_': __name__ + '.Loudness'}\n"
        "    def __call__(self, samples):\n"
        "        from .lazy import OFFSET\n"
        "        return OFFSET + scaling.FACTOR * super().__call__(samples)\n"
    ),
    "voice_recipes/base.py": "from singer_verify.features.energy import Energy\nclass Base(Energy):\n    pass\n",
    "voice_recipes/lazy.py": "OFFSET = 0\n",
    "voice_recipes/unrelated.py": "FACTOR = 1\n",
    "voice_helpers/__init__.py": "",
    "voice_helpers/scaling.py": "import numpy\nfrom .constants import *\n",
    "voice_helpers/constants.py": "FACTOR = 1\n",
    "voice_helpers/unrelated.py": "FACTOR = 1\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("is_stacked", [False, True])
def test_code_of_another_package_or_in_a_function_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_stacked: bool
) -> None:
    for name, source in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    monkeypatch.syspath_prepend(tmp_path)

    def describe() -> dict[str, str]:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("voice_recipes", "voice_helpers")]:
            monkeypatch.delitem(sys.modules, name)
        importlib.invalidate_caches()
        importlib.import_module("voice_recipes.loudness")
        part = {"_target_": "voice_recipes.loudness.Loudness"}
        stack = {"_target_": "singer_verify.features.stack.FeatureStack", "stack": [Energy().recipe, part]}
        return recipe.describe_recipe_code(stack if is_stacked else part)

    before = describe()
    assert describe() == before
    assert "voice_recipes.lazy" not in sys.modules  # nothing is executed to look at it
    importlib.import_module("voice_recipes.lazy")
    assert recipe.describe_recipe_code({"_target_": "voice_recipes.loudness.Loudness"}) == before
    for name, source in MODULES.items():
        (tmp_path / name).write_text(source + "# changed\n")
        is_used = "unrelated" not in name and name != "voice_recipes/__init__.py"
        assert (describe() != before) == is_used, name
        (tmp_path / name).write_text(source)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99")
    assert describe() != before


def test_a_recipe_of_singer_verify_has_its_version_alone() -> None:
    assert recipe.describe_recipe_code(MelSpectrogram(40).recipe) == {"singer_verify": str(recipe.RECIPE_CODE_VERSION)}


def test_a_recording_in_train_and_test_is_refused(make_corpus: MakeCorpus) -> None:
    root = make_corpus(utterances=2)
    for singer in ("c", "d"):
        shutil.copytree(root / "val/val_singer0", root / "test" / singer)
        for number, path in enumerate((root / "test" / singer).iterdir()):
            soundfile.write(path, sing(7000 + 10 * ord(singer) + number), SAMPLE_RATE)
    shutil.copy(root / "train/train_singer0/song0.flac", root / "test/c/x.flac")
    data = SingerDataModule(str(root), MelSpectrogram(20), 20, 2, 2, store_root=str(root / "store"))
    data.prepare_data()
    data.setup("fit")
    with pytest.raises(
        SingerVerifyError, match=r"train_singer0/song0.flac and .*test/c/x.flac: the same recording in bo"
    ):
        data.setup("test")
