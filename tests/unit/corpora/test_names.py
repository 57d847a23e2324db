"""Names that look the same are the same singer and the same file; names that no table can hold are refused."""

import logging
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from support.cli import call

from singer_verify.corpora.corpus import find_contradicting_singer, read_corpora, read_corpus
from singer_verify.corpora.names import find_typed_path, normalise_name
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.seen_singers import SeenSingers, compute_singer_overlap
from singer_verify.inference.enrolment import EnrolledRecording, find_singer_recordings, select_enrolled_recordings

NFC, NFD = (unicodedata.normalize(form, "zoë") for form in ("NFC", "NFD"))
TABLE_NAMES = ("nan", "NA", "None", "null", "true", "1e3", "001", "-1", "inf", 'c"d', "a,b", "k;l", "#hash", "i j")


def touch_corpus(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def test_two_spellings_in_one_split_are_one_singer_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = touch_corpus(tmp_path, f"train/{NFD}/1.wav", f"train/{NFC}/2.wav", "train/bert/1.wav", "val/emma/1.wav")
    with caplog.at_level(logging.WARNING):
        train = read_corpus(root).splits["train"]
    assert train.singers == ("bert", NFC)
    assert {(utterance.path, utterance.singer) for utterance in train.utterances} == {
        *(("train/bert/1.wav", "bert"), (f"train/{NFD}/1.wav", NFC), (f"train/{NFC}/2.wav", NFC))
    }
    assert f"2 folders are named {NFC}" in caplog.text


def test_two_spellings_in_two_splits_are_refused(tmp_path: Path) -> None:
    root = touch_corpus(tmp_path, f"train/{NFC}/1.wav", f"val/{NFD}/1.wav", "val/emma/1.wav")
    with pytest.raises(SingerVerifyError, match=f"{NFC} in more than one split"):
        read_corpus(root)


def test_a_root_may_be_typed_in_the_other_spelling(tmp_path: Path) -> None:
    root = touch_corpus(tmp_path / NFD, "train/anna/1.wav", "val/emma/1.wav")
    assert read_corpora([tmp_path / NFC]).root == root
    other = touch_corpus(tmp_path / "other", "train/bert/1.wav", "val/finn/1.wav")
    assert read_corpora([tmp_path / NFC, other]).part_roots == (root, other)


def test_typed_paths_are_found_only_where_one_fits(tmp_path: Path) -> None:
    found = touch_corpus(tmp_path, f"{NFD}/{NFC} {NFD}.wav") / f"{NFD}/{NFC} {NFD}.wav"
    for typed in (f"{NFC}/{NFC} {NFC}.wav", f"{NFD}/{NFD} {NFD}.wav", f"{NFD}/{NFC} {NFD}.wav"):
        assert find_typed_path(tmp_path / typed) == found
    assert find_typed_path(tmp_path / NFC / "new.csv") == tmp_path / NFD / "new.csv"
    for absent in (tmp_path / "zoé", tmp_path / "zoé" / "b", tmp_path / NFC / "a" / NFC):
        assert find_typed_path(absent) == absent
    spellings = ["\u1ec7", "\u1eb9\u0302", "e\u0323\u0302"]  # one letter; the third means either of the first two
    for spelling in spellings[:2]:
        (tmp_path / spelling).mkdir()
    assert find_typed_path(tmp_path / spellings[2]) == tmp_path / spellings[2]


def test_a_command_finds_its_paths_in_the_other_spelling(tmp_path: Path) -> None:
    root = touch_corpus(tmp_path / NFD, *(f"val/{singer}/{take}.wav" for singer in "ab" for take in "12"))
    assert root.exists()
    assert "6 trials" in call("trials", tmp_path / NFC, "--all", "--out", tmp_path / "list.csv")


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\rb", "a\x1fb", "a\u2028b", "a\x85b"])
def test_names_that_tables_cannot_hold_are_refused(name: str, tmp_path: Path) -> None:
    for place, path in enumerate((f"train/{name}/1.wav", f"train/anna/{name}.wav")):
        root = touch_corpus(tmp_path / str(place), path, "train/bert/1.wav", "val/emma/1.wav")
        with pytest.raises(SingerVerifyError, match=r"contains a line break, a tab or another control") as caught:
            read_corpus(root)
        assert repr(path) in str(caught.value)


def test_names_that_look_like_values_stay_names(tmp_path: Path) -> None:
    root = touch_corpus(tmp_path, *(f"train/{name}/1.wav" for name in TABLE_NAMES), "val/emma/1.wav")
    assert read_corpus(root).splits["train"].singers == tuple(sorted(TABLE_NAMES))


def test_a_file_named_after_another_singer_is_found_in_either_spelling() -> None:
    assert find_contradicting_singer(f"val/bert/{NFD}_1.wav", "bert", {"bert", NFC}) == NFC
    assert find_contradicting_singer(f"val/{NFC}/{NFD}_1.wav", NFC, {"bert", NFC}) is None


def test_seen_and_enrolled_singers_are_found_in_either_spelling() -> None:
    seen = SeenSingers.from_names([f"corpus/{NFD}"], [7])
    assert compute_singer_overlap(seen, [NFD, NFC, "bert"], [1, 2, 3]).num_namesakes == 1
    assert compute_singer_overlap(seen, [NFD, NFC, "bert"], [7, 2, 3]).num_recognised == 1
    row = np.ones(1, np.float32)
    enrolled = [EnrolledRecording(normalise_name(name), f"{name}.wav", "", row) for name in (NFC, "bert")]
    assert find_singer_recordings(enrolled, NFD) == (enrolled[0],)
    assert select_enrolled_recordings(enrolled, NFD, f"{NFD}.wav") == (enrolled[0],)
