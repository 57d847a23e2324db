"""Utterances that cannot be used keep their trials and labels: another with a similar path does not get them."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import MakeCorpus, sing
from support.untrained_model import make_run

from singer_verify.evaluation.trials.trial_list import TrialList
from singer_verify.evaluation.trials.validation import select_valid_trials, validate_trials
from singer_verify.inference import load_model
from singer_verify.inference.evaluation import (
    embed_split,
    evaluate,
)
from singer_verify.inference.model import Model

SINGERS = {"val/a/s.flac": "a", "val/a/s.wav": "a", "val/a/2.wav": "a", "val/b/1.wav": "b", "val/b/2.wav": "b"}


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(make_run(tmp_path / "run"))


def list_pairs(*rows: tuple[str, str, bool]) -> TrialList:
    left, right, is_target = zip(*rows, strict=True)
    return TrialList(np.array(left, object), np.array(right, object), np.array(is_target))


@pytest.mark.parametrize(
    ("listed", "unusable"),
    [
        ("val/a/s.flac", "val/a/s.flac"),  # s.wav differs by its suffix
        ("a\\s.flac", "val/a/s.flac"),
        ("/data/VAL/A/S.FLAC", "val/a/s.flac"),
        ("s.flac", "val/a/s.flac"),
        ("b/1.mp3", "val/b/1.wav"),
        ("2.wav", "val/a/2.wav"),  # means either singer's: ambiguous, whichever of them can be used
        ("2.wav", "val/b/2.wav"),
    ],
)
def test_trials_of_an_unusable_utterance_are_missing(listed: str, unusable: str) -> None:
    trials = list_pairs((listed, "val/b/2.wav", False), ("val/a/s.wav", "val/a/2.wav", True), ("s.wav", "b/1", False))
    validation = validate_trials(trials, Path("corpus"), SINGERS, unusable=[unusable])
    assert validation.is_missing[0]
    assert listed in validation.missing
    assert unusable not in [*validation.left[~validation.is_missing], *validation.right[~validation.is_missing]]


def test_a_usable_utterance_is_matched_as_before() -> None:
    trials = list_pairs(("a/s.mp3", "b/1", False), ("s.wav", "val/a/2.wav", True), ("val/a/s.wav", "b/2", False))
    validation = validate_trials(trials, Path("corpus"), SINGERS, unusable=["val/a/s.flac"])
    assert validation.missing == ("a/s.mp3",)  # fits both, of which one cannot be used
    kept = select_valid_trials(trials, validation)
    assert list(zip(kept.left, kept.right, strict=True)) == [
        ("val/a/s.wav", "val/a/2.wav"),
        ("val/a/s.wav", "val/b/2.wav"),
    ]


def add_takes(root: Path) -> None:
    """One take of the first singer twice: a flac file that cannot be decoded, and a wav file."""
    (root / "val/val_singer0/s.flac").write_bytes(b"fLaC and no sound")
    soundfile.write(root / "val/val_singer0/s.wav", sing(9), 16_000)


def test_a_list_is_not_evaluated_on_another_recording(
    make_corpus: MakeCorpus, model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_corpus()
    add_takes(root)
    rows = [
        "1 val/val_singer0/s.flac val/val_singer0/song0.flac",
        "1 val/val_singer0/s.wav val/val_singer0/song1.flac",
        "1 val/val_singer1/song0.flac val/val_singer1/song1.flac",
        "0 val/val_singer0/song0.flac val/val_singer1/song0.flac",
    ]
    (tmp_path / "list.txt").write_text("\n".join(rows) + "\n")
    result = evaluate(model, root, trials=tmp_path / "list.txt", conditions="none", num_resamples=20)
    assert (result.conditions[0].num_targets, result.conditions[0].num_nontargets) == (2, 1)
    assert "left out: 1; such files, 1 of them in another split or unusable: 1 (val/val_singer0/s.flac)" in caplog.text


def test_labels_of_an_unusable_utterance_are_its_own(make_corpus: MakeCorpus, model: Model) -> None:
    root = make_corpus()
    add_takes(root)
    (root / "corpus.csv").write_text("utterance,song\nval/val_singer0/s.flac,x\nval/val_singer0/song0.flac,y\n")
    utterances = embed_split(model, root, "val")
    songs = dict(zip(utterances.paths, utterances.labels["song"], strict=True))
    assert (songs["val/val_singer0/s.wav"], songs["val/val_singer0/song0.flac"]) == ("", "y")
    assert "val/val_singer0/s.flac" not in songs
