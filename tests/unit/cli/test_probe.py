"""`probe`: which labels are probed, what is refused, and what is printed and written."""

import csv
import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from rich.console import Console
from support.audio import SAMPLE_RATE
from support.cli import call, refusal
from support.untrained_model import make_run
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.evaluation.results import EvaluatedUtterances
from singer_verify.inference import load_model, probing
from singer_verify.inference.probing import ProbeOptions, plan_probes, probe_models
from singer_verify.reports.probes import build_probe_notes, build_probe_table, format_probes_latex

NUM_SINGERS, SONGS = 6, ("calm", "fast", "high", "low")
QUICK = ("--resamples", 20, "--folds", 2)


def sing_note(f0_hz: float, seconds: float, seed: int) -> np.ndarray:
    """A harmonic note with vibrato."""
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * f0_hz * (time_s + 0.0004 * np.sin(2 * np.pi * 5.5 * time_s))
    tone = sum(np.sin(k * phase) / k for k in range(1, 8))
    noise = np.random.default_rng(seed).standard_normal(time_s.size)
    return (0.2 * tone + 0.005 * noise).astype(np.float32)


@pytest.fixture(autouse=True)
def work_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start no workers, which take longer than these few recordings, and try one penalty."""
    monkeypatch.setattr(probing, "probe_label", partial(probing.probe_label, penalties=(10.0,)))
    for module in ("split", "probing"):
        monkeypatch.setattr(f"singer_verify.inference.{module}.count_available_cores", lambda: 0)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Six singers of two genders sing four songs each, one of them twice as high."""
    rows = ["utterance,gender,song,town,room"]
    for singer in range(NUM_SINGERS):
        folder = tmp_path / f"corpus/val/s{singer}"
        folder.mkdir(parents=True)
        for place, song in enumerate(SONGS):
            f0_hz = (120.0 + 12.0 * singer) * (2.0 if song == "high" else 1.0) * (1.0 + 0.03 * place)
            soundfile.write(folder / f"{song}.wav", sing_note(f0_hz, 0.7 + 0.1 * place, singer), SAMPLE_RATE)
            gender = "" if (singer, place) == (0, 1) else ("female", "male")[singer % 2]
            rows.append(f"val/s{singer}/{song}.wav,{gender},{song},town{singer},hall")
    (tmp_path / "corpus/corpus.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "corpus"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def test_a_model_is_probed_and_everything_is_written(model: Path, corpus: Path, tmp_path: Path) -> None:
    out, figure = tmp_path / "out", tmp_path / "bars.png"
    labels = "singer,gender,song,pitch,duration"
    printed = call("probe", model, corpus, "--label", labels, *QUICK, "--json", "--out", out, "--figure", figure)
    result = json.loads(printed)
    written = json.loads((out / "probes.json").read_text())
    assert [line.split()[0] for line in written.pop("provenance")] == ["Model", "Made"]
    assert result == written
    probes = {probe["label"]: probe for probe in result["probes"]}
    assert [*probes] == labels.split(",")
    gender, pitch = probes["gender"], probes["pitch"]
    assert (gender["metric"], gender["chance"], gender["num_classes"], gender["num_singers"]) == (
        *("balanced_accuracy", 0.5, 2),
        NUM_SINGERS,
    )
    assert (gender["num_utterances"], gender["num_unknown"], gender["disjoint"]) == (23, 1, "singer")
    assert gender["score_low"] <= gender["score"] <= gender["score_high"]
    assert gender["majority"] == pytest.approx(12 / 23)
    assert (pitch["metric"], pitch["chance"], pitch["num_classes"], pitch["accuracy"]) == ("r2", 0.0, None, None)
    assert (probes["singer"]["disjoint"], probes["singer"]["chance"]) == ("song", pytest.approx(1 / NUM_SINGERS))
    assert result["classes"]["song"] == list(SONGS)
    assert any("1 of 24 utterances without a value" in remark for remark in result["remarks"])
    assert {file.name for file in out.iterdir()} == {f"probes.{kind}" for kind in ("json", "csv", "tex", "png", "svg")}
    assert figure.read_bytes()[:4] == b"\x89PNG"
    assert "chance" in (out / "probes.svg").read_text()
    table = list(csv.DictReader(io.StringIO((out / "probes.csv").read_text())))
    assert [row["label"] for row in table] == labels.split(",")
    assert float(table[1]["score"]) == gender["score"]
    assert r"\toprule" in (out / "probes.tex").read_text()


def test_without_names_every_label_that_can_be_probed_is(
    model: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    printed = call("probe", model, corpus, *QUICK)
    first_words = [line.split()[0] for line in printed.splitlines() if line.strip()]
    assert {"singer", "gender", "song"} <= set(first_words)
    assert "town" not in first_words
    assert "room" not in first_words
    said = " ".join(printed.split())
    assert "Not probed: label town: each of its 6 values belongs to one singer only" in said
    assert "Label singer: the same 6 singers to learn from and to be tested on, by another song." in said
    assert max(map(len, printed.splitlines())) <= 80


def test_models_are_compared_on_the_same_utterances(
    model: Path, corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The second model tells the song and cannot use one recording; `probe_models` is given its embeddings."""
    other = make_run(tmp_path / "sweep/run", seed=1)
    models = [load_model(model), load_model(other)]
    singers = tuple(f"s{number}" for number in range(NUM_SINGERS))
    index = np.repeat(np.arange(NUM_SINGERS), len(SONGS))
    songs = np.tile(np.array(SONGS, object), NUM_SINGERS)
    paths = np.array([f"val/{singers[who]}/{song}.wav" for who, song in zip(index, songs, strict=True)], object)
    noise = np.random.default_rng(0).standard_normal((len(index), 4))
    telling = np.eye(4)[np.tile(np.arange(4), NUM_SINGERS)] + 0.01 * noise

    def embed(loaded: Any, *_: Any) -> EvaluatedUtterances:
        is_other = loaded is models[1]
        kept = slice(0, len(index) - is_other)
        rows = telling if is_other else noise
        return EvaluatedUtterances(paths[kept], singers, index[kept], {"song": songs[kept]}, rows[kept])

    plan = plan_probes(corpus, "val", ProbeOptions(("song",), num_folds=3, num_resamples=100))
    report = probe_models(models, corpus, "val", plan, embed=embed)
    [probe] = report.probes
    first, second = probe.scores
    assert len(probe.task.rows) == len(index) - 1
    assert "Utterances left out, which one of the models cannot use: 1." in caplog.text
    assert second.score.value == 1.0
    assert second.difference is not None
    assert second.difference.value == pytest.approx(1.0 - first.score.value)
    assert second.difference.low > 0.2
    assert second.p == pytest.approx(2 / 2**6)  # of six singers
    assert report.models == (f"{tmp_path.name}/run", "sweep/run")
    assert any(note.startswith("Difference: the score minus that of") for note in build_probe_notes(report))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(build_probe_table(report))
    assert "difference" in console.export_text()
    latex = format_probes_latex(report)
    assert latex.startswith(r"\begin{table}")
    assert r"95 \% intervals" in latex
    printed = call("probe", model, other, corpus, *QUICK, "--label", "gender", "--csv")
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert [row["model"] for row in rows] == [*report.models]
    assert [bool(row["difference"]) for row in rows] == [False, True]


def test_mistakes_are_refused_before_the_work(
    model: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_to_work(*_: Any) -> Any:
        raise AssertionError("this is expensive")

    monkeypatch.setattr("singer_verify.inference.load_model", refuse_to_work)
    probe = ("probe", model, corpus)
    said = refusal(*probe, "--label", "gender,tempo")
    assert "--label tempo: " in said
    assert "has the labels gender, song, town, room; expected one of them, or singer, pitch, duration." in said
    assert "each of its 6 values belongs to one singer only" in refusal(*probe, "--label", "town")
    assert "label room: has the value hall only" in refusal(*probe, "--label", "gender,room")
    assert "--numbers tempo: " in refusal(*probe, "--numbers", "tempo")
    assert "label song: has the value calm; expected numbers" in refusal(*probe, "--label", "song", "--numbers", "song")
    assert "--disjoint opera: " in refusal(*probe, "--disjoint", "opera")
    assert "0 of 6 singers have at least 2 rooms" in refusal(*probe, "--label", "singer", "--disjoint", "room")
    assert "--folds=1: expected an integer of at least 2" in refusal(*probe, "--folds", 1)
    assert "--resamples=1" in refusal(*probe, "--resamples", 1)
    assert "--seed=-1" in refusal(*probe, "--seed", -1)
    assert "print one form each" in refusal(*probe, "--json", "--csv")
    assert "expected a file name that ends in .png" in refusal(*probe, "--figure", tmp_path / "bars.pdf")
    assert "is not a folder" in refusal(*probe, "--out", corpus / "corpus.csv")
    assert "test" in refusal(*probe, "--split", "test")
    (tmp_path / "empty").mkdir()
    assert "empty" in refusal("probe", model, tmp_path / "empty")
    assert "no model comes with this installation" in refusal("probe", corpus)


def test_a_corpus_without_labels_is_probed_for_the_singer_by_recordings(model: Path, corpus: Path) -> None:
    (corpus / "corpus.csv").unlink()
    (corpus / "val/s0").rename(corpus / "val/a")  # the name of a singer that the model was trained on
    result = json.loads(call("probe", model, corpus, *QUICK, "--json"))
    assert any("1 of 6 singers have the names of singers the model was trained on" in it for it in result["remarks"])
    assert [probe["label"] for probe in result["probes"]] == ["singer"]
    assert result["probes"][0]["disjoint"] == "recording"
    assert any("which may be of the same song" in remark for remark in result["remarks"])
    assert "has no labels; expected one of them, or singer, pitch, duration." in refusal(
        *("probe", model, corpus, "--label", "gender")
    )


def test_the_same_model_twice_is_refused_and_a_corpus_of_one_recording_each(model: Path, corpus: Path) -> None:
    assert "is given twice" in refusal("probe", model, model, corpus, "--label", "gender")
    for file in corpus.glob("val/*/*.wav"):
        if file.stem != "calm":
            file.unlink()
    (corpus / "corpus.csv").unlink()
    said = refusal("probe", model, corpus)
    assert "no label can be probed" in said
    assert "0 of 6 singers have at least 2 recordings" in said


def test_precomputed_features_have_no_pitch_to_measure(model: Path, make_ready_corpus: Any) -> None:
    root = make_ready_corpus()
    assert "there is no sound to measure it in" in refusal("probe", model, root, "--label", "pitch")


def test_help_lists_the_command() -> None:
    assert "probe" in CliRunner().invoke(app, ["--help"]).output
