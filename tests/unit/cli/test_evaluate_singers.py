"""`evaluate --trials` with a list that compares singers with recordings, as made for enrolment with Kaldi."""

import csv
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import MakeCorpus
from support.cli import call, refusal
from support.untrained_model import make_run

from singer_verify.evaluation.scoring.scoring import Scoring, Threshold
from singer_verify.inference import load_model
from singer_verify.inference.evaluation import embed_split, evaluate


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def write_list(path: Path, singers: list[str], root: Path) -> Path:
    lines = [
        f"{singer} {file.parent.name}/{file.stem} {'target' if file.parent.name == singer else 'nontarget'}\n"
        for singer in singers
        for file in sorted((root / "val").rglob("*.flac"))
    ]
    path.write_text("".join(lines))
    return path


def test_scores_are_those_of_enrolled_singers(model: Path, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus(val=2, utterances=4)
    listed = write_list(tmp_path / "trials", ["val_singer0", "val_singer1"], root)
    out = tmp_path / "report"
    record = json.loads(
        call("evaluate", model, root, "--trials", listed, "--out", out, "--json", "--resamples", 20, "--seed", 1)
    )
    assert (record["num_trials"], record["num_targets"], record["num_utterances"]) == (16, 8, 8)
    assert record["trials"] == (
        "those of trials (one side is the mean of 3 to 4 recordings of a singer, without the recording on the other "
        "side)"
    )
    utterances = embed_split(load_model(model), root, "val")
    places = {path: place for place, path in enumerate(utterances.paths)}
    with (out / "worst_trials.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] != "confused singers"]
    assert len(rows) == 3  # the worst of each pair of singers
    for row in rows:
        place = places[row["right"]]
        own = [number for path, number in places.items() if path.split("/")[1] == row["left"] and number != place]
        mean = np.sum([utterances.embeddings[number] for number in own], axis=0)
        assert float(row["score"]) == pytest.approx(
            mean @ utterances.embeddings[place] / np.linalg.norm(mean), abs=1e-5
        )
        assert row["left"] == row["left_singer"]
        assert (row["kind"] == "miss") is (row["left_singer"] == row["right_singer"]) is (len(own) == 3)
    page = (out / "report.html").read_text()
    assert '<div class="path">val_singer1, enrolled</div>' in page
    assert page.count("<em>no audio</em>") == 3  # a singer in each trial; the recordings can be played
    result = evaluate(model, root, trials=listed, num_resamples=20, seed=1)
    assert result.metrics["eer"].value == record["metrics"]["eer"]["value"]


def test_what_is_left_out_is_said(
    model: Path, make_corpus: MakeCorpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_corpus(val=2, utterances=3)
    folder = root / "val/val_singer0"
    shutil.copy(folder / "song0.flac", folder / "song0_again.flac")
    (folder / "song9.flac").write_bytes(b"no sound")
    listed = write_list(tmp_path / "trials", ["val_singer0", "val_singer1", "another"], root)
    with caplog.at_level(logging.WARNING):
        record = json.loads(call("evaluate", model, root, "--trials", listed, "--json", "--resamples", 20))
    assert record["num_trials"] == 12  # 2 singers and 6 recordings that can be used, each once
    said = "\n".join(caplog.messages)
    assert "Trials of singers without a usable recording in" in said
    assert "left out: 8; such singers: 1 (another)" in said
    assert "left out: 2; such files: 1 (val_singer0/song9)" in said
    assert record["trials"].startswith("those of trials (one side is the mean of 2 to 3 recordings")


def test_a_threshold_of_single_recordings_is_remarked(
    model: Path, make_corpus: MakeCorpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_corpus(val=2)
    listed = write_list(tmp_path / "trials", ["val_singer0", "val_singer1"], root)
    scoring = Scoring(threshold=Threshold(0.5, "equal error rate on 4 singers of x/val"))
    for path, is_said in ((listed, True), (None, False)):
        caplog.clear()
        evaluate(model, root, trials=path, scoring=scoring, conditions="none", num_resamples=20)
        assert ("the threshold was fitted to pairs of single recordings" in "".join(caplog.messages)) is is_said


def test_refusals_come_before_the_work(
    model: Path, make_corpus: MakeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_to_work(*_: object) -> None:
        raise AssertionError("this is expensive")

    monkeypatch.setattr("singer_verify.inference.load_model", refuse_to_work)
    root = make_corpus(val=2, utterances=1)
    listed = write_list(tmp_path / "trials", ["val_singer0"], root)
    assert refusal("evaluate", model, root, "--trials", listed) == (
        "val_singer0: the list compares this singer with val/val_singer0/song0.flac, the singer's only usable "
        "recording, so that none is left to represent the singer (1 such singers); add recordings, or leave these "
        "target trials out."
    )
    samples, rate = soundfile.read(root / "val/val_singer1/song0.flac")
    soundfile.write(root / "val/val_singer1/val_singer0.flac", samples[::-1], rate)
    assert "val_singer0, on the left side of the list, may be the singer or the recording val/val_singer1/" in refusal(
        "evaluate", model, root, "--trials", listed
    )
