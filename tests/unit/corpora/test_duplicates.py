"""The same recording twice: found by what it sounds like, kept once of one singer, refused of two."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import SAMPLE_RATE, MakeCorpus, sing

from singer_verify.corpora.corpus import Recording
from singer_verify.corpora.duplicates import (
    RecordingRegister,
    find_copies,
    group_equal_recordings,
    remove_duplicates,
    require_one_singer_per_recording,
)
from singer_verify.errors import SingerVerifyError


def write(path: Path, seed: int, silence: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    padding = np.zeros(silence, np.int16)
    samples = np.concatenate([padding, (sing(seed) * 32767).astype(np.int16), padding])
    soundfile.write(path, samples, SAMPLE_RATE, "PCM_16")
    return path


def test_formats_are_compared_and_ends_are_not_enough(tmp_path: Path) -> None:
    """Clips padded with silence have the same size, and the same bytes at beginning, middle and end."""
    padded = [write(tmp_path / f"padded{seed}.wav", seed, silence=40_000) for seed in range(4)]
    same = [write(tmp_path / name, 9) for name in ("song.wav", "song.flac", "song (1).wav")]
    silent = [tmp_path / name for name in ("silent.wav", "still.wav")]
    for path in silent:
        soundfile.write(path, np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    broken = [tmp_path / name for name in ("broken.wav", "empty.wav", "gone.wav")]
    for path in broken[:2]:
        path.write_bytes(b"no audio" if path.stem == "broken" else b"")
    assert list(group_equal_recordings([*padded, *same, *silent, *broken])) == [sorted(same, key=lambda p: len(p.name))]


def test_arrays_are_compared_too(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).random((60, 8))
    for name, array in (("a.npy", frames), ("copy.npy", frames), ("b.npy", frames[::-1]), ("zero.npy", 0 * frames)):
        np.save(tmp_path / name, array)
    (tmp_path / "broken.npy").write_bytes((tmp_path / "a.npy").read_bytes()[::-1])
    assert list(group_equal_recordings(sorted(tmp_path.iterdir()))) == [[tmp_path / "a.npy", tmp_path / "copy.npy"]]


def test_a_copy_of_one_singer_is_kept_once_and_of_two_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, flac = write(tmp_path / "a/1.wav", 0), write(tmp_path / "a/one.flac", 0)
    recordings = [
        Recording(path, path.parent.name, path.name) for path in (flac, first, write(tmp_path / "b/1.wav", 1))
    ]
    assert [recording.source for recording in remove_duplicates(recordings)] == [first, recordings[2].source]
    assert f"{first} and {flac}: the same recording; kept once" in caplog.text
    recordings.append(Recording(write(tmp_path / "b/2.flac", 0), "b", "2.flac"))
    with pytest.raises(SingerVerifyError, match="the same recording under the singers a and b"):
        remove_duplicates(recordings)
    assert [recording.name for recording in remove_duplicates(recordings, drop_shared=True)] == ["1.wav"]


def test_the_register_keeps_the_first_of_each_singer() -> None:
    register = RecordingRegister(Path("corpus"))
    said = [
        register.add(path, singer, content)
        for path, singer, content in [("1", "a", 7), ("2", "a", 7), ("3", "a", 0), ("4", "a", 0), ("5", "b", 8)]
    ]
    assert said == ["", "corpus/2: the same recording as 1, which is kept.", "", "", ""]
    assert register.copies == {"2": "1"}
    assert register.contents == {"1": 7, "3": 0, "4": 0, "5": 8}
    register.require_one_singer_each()
    assert register.add("6", "b", 7) == ""
    with pytest.raises(
        SingerVerifyError, match=r"corpus/1 and corpus/6: the same recording under two singers, a and b"
    ):
        register.require_one_singer_each()


def test_corpora_that_share_a_recording_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Their singers have two names, and nobody knows whether they are one."""
    paths = ["x/train/a/1", "y/train/b/1", "y/train/c/1"]
    require_one_singer_per_recording(Path("shared"), paths, ["x/a", "y/b", "y/c"], [1, 1, 2])
    assert (
        "x/train/a/1 and shared/y/train/b/1: the same recording under two singers, x/a and y/b, of two" in caplog.text
    )
    with pytest.raises(SingerVerifyError, match="y/b and y/c"):
        require_one_singer_per_recording(Path("shared"), paths[1:], ["y/b", "y/c"], [1, 1])


def test_copies_in_a_corpus_are_found_before_it_is_embedded(make_corpus: MakeCorpus) -> None:
    root = make_corpus(val=2, utterances=2)
    shutil.copy(root / "val/val_singer0/song1.flac", root / "val/val_singer0/take.flac")
    singers = {
        f"val/val_singer{s}/{name}": f"{s}" for s, name in ((0, "song0.flac"), (0, "song1.flac"), (1, "song0.flac"))
    }
    assert find_copies(root, singers | {"val/val_singer0/take.flac": "0"}) == {
        "val/val_singer0/take.flac": "val/val_singer0/song1.flac"
    }
    with pytest.raises(SingerVerifyError, match="delete the wrong file"):
        find_copies(root, singers | {"val/val_singer0/take.flac": "1"})
