"""`evaluate`: mistakes that are found before the work, figures that a full disk does not take, wanted conditions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.audio import MakeCorpus
from support.cli import call, refusal
from support.untrained_model import make_run
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation import embedding_map
from singer_verify.evaluation.conditions import ConditionSelection, select_conditions
from singer_verify.inference import evaluation
from singer_verify.reports.evaluation import files

LABELS = {
    "gender": np.array(["female", "female", "male", "male"], object),
    "song": np.array(["a", "b", "a", "b"], object),
    "style": np.array(["speech", "singing", "singing", "singing"], object),
    "room": np.array(["hall"] * 4, object),  # one value: no conditions
}
PITCHES = {"pitch within 2 semitones", "pitch an octave or more apart"}
LENGTHS = {"shorter than 2 s", "2 to 5 s", "5 to 10 s", "10 s or longer"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def refuse_to_work(*_: Any) -> Any:
    raise AssertionError("this is expensive")


def test_cheap_mistakes_are_found_before_the_work(
    model: Path, make_corpus: MakeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_corpus()
    monkeypatch.setattr("singer_verify.inference.load_model", refuse_to_work)
    monkeypatch.setattr(embedding_map, "find_available_methods", lambda: ("tsne",))
    (tmp_path / "list.txt").write_text("1 a.wav\n")
    evaluate = ("evaluate", model, root)
    assert "list.txt, line 1" in refusal(*evaluate, "--trials", tmp_path / "list.txt")
    assert "nowhere.txt" in refusal(*evaluate, "--trials", tmp_path / "nowhere.txt")
    for content, sentence in (
        ("a.wav b.wav target\na.wav c.wav nontarget\n", "none of the 2 trials can be used"),
        (
            "val_singer0/song1 val_singer1 nontarget\nval_singer0/song1 val_singer0/song0 target\n",
            "the right side of the list names singers (val_singer1) and recordings (val_singer0/song0, which is",
        ),
        ("0 val_singer0/song0 val_singer0/song1\n1 val_singer0/song0 val_singer1/song1\n", "the labels are reversed"),
    ):
        (tmp_path / "list.txt").write_text(content)
        assert sentence in refusal(*evaluate, "--trials", tmp_path / "list.txt")
    (root / "corpus.csv").write_text("utterance,song\nanother/1.wav,x\n")
    assert "lists another/1.wav, not in" in refusal(*evaluate)
    (root / "corpus.csv").unlink()
    assert "--umap: umap-learn is not installed" in refusal(*evaluate, "--umap")
    said = refusal(*evaluate, "--out", tmp_path / "list.txt")
    assert said == f"--out {tmp_path}/list.txt: {tmp_path}/list.txt is not a folder; choose another one."
    assert "list.txt is not a folder" in refusal(*evaluate, "--out", tmp_path / "list.txt/below/it")
    assert "expected one of gender" not in refusal(*evaluate, "--conditions", "tempo")
    assert "`none` cannot be combined" in refusal(*evaluate, "--conditions", "none,length")
    assert "`none` cannot be combined" in refusal(*evaluate, "--conditions", "none,none")


def test_a_folder_without_rights_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.require_report_folder(tmp_path / "new/folder")
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(files.os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(SingerVerifyError, match="is not writable"):
        files.require_report_folder(tmp_path / "new/folder")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_full_disk_does_not_take_the_figures(
    model: Path, make_corpus: MakeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...]
) -> None:
    root = make_corpus(val=3)

    def full(*_: Any) -> None:
        raise SingerVerifyError("the disk is full")

    monkeypatch.setattr(files, "write_evaluation_report", full)
    called = ["evaluate", str(model), str(root), "--out", str(tmp_path / "report"), "--resamples", "20", *form]
    result = CliRunner().invoke(app, called)
    assert "the disk is full" in str(result.exception)
    assert ('"eer"' if form else "EER") in result.stdout


def test_single_conditions_are_chosen_by_their_names() -> None:
    choice = select_conditions("hard,cross gender", LABELS)
    assert choice.names == {"hard", "cross gender"}
    assert choice.labels == {"song", "gender"}
    assert not choice.needs_length
    assert not choice.needs_pitch
    choice = select_conditions("pitch an octave or more apart,speech against song", LABELS)
    assert choice.names == {"pitch an octave or more apart", "speech against song"}
    assert (choice.labels, choice.needs_length, choice.needs_pitch) == ({"style"}, False, True)


def test_labels_and_measures_stand_for_all_their_conditions() -> None:
    choice = select_conditions("gender,length", LABELS)
    assert choice.names == {"same gender", "cross gender", *LENGTHS}
    assert (choice.labels, choice.needs_length, choice.needs_pitch) == ({"gender"}, True, False)
    assert "hard" in select_conditions("gender,song", LABELS).names
    every = select_conditions(None, LABELS)
    assert {"hard", "speech against song", *PITCHES, *LENGTHS} <= every.names
    assert (every.labels, every.needs_length, every.needs_pitch) == ({"gender", "song", "style"}, True, True)
    assert not select_conditions("room", LABELS).names
    nothing = select_conditions("none", LABELS)
    assert nothing == ConditionSelection(frozenset(), frozenset(), needs_length=False, needs_pitch=False)
    assert not select_conditions(None, LABELS, is_measurable=False).needs_pitch


@pytest.mark.parametrize("wanted", ["tempo", "", "gender,", "same room", "harder"])
def test_what_is_no_condition_is_refused_with_those_there_are(wanted: str) -> None:
    with pytest.raises(SingerVerifyError, match=r"expected one of gender, song, .*, none, .*, hard, "):
        select_conditions(wanted, LABELS)
    with pytest.raises(SingerVerifyError, match="--conditions=pitch: expected one of gender"):
        select_conditions("pitch", LABELS, is_measurable=False)


def test_only_what_is_wanted_is_evaluated_and_measured(
    model: Path, make_corpus: MakeCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_corpus(val=4, utterances=4)
    rows = [
        f"{path.relative_to(root).as_posix()},{'female' if path.parent.name < 'val_singer2' else 'male'},{path.stem}"
        for path in sorted((root / "val").rglob("*.flac"))
    ]
    (root / "corpus.csv").write_text("\n".join(["utterance,gender,song", *rows]))

    def evaluate_conditions(wanted: str) -> dict[str, Any]:
        record = json.loads(call("evaluate", model, root, "--conditions", wanted, "--json", "--resamples", 20))
        return {condition["condition"]: condition for condition in record["conditions"]}

    far = evaluate_conditions("pitch an octave or more apart,shorter than 2 s")
    assert set(far) <= {"all", "pitch an octave or more apart", "shorter than 2 s"}
    assert far["shorter than 2 s"]["num_targets"] == far["all"]["num_targets"] == 24
    monkeypatch.setattr(evaluation, "measure_pitch", refuse_to_work)
    assert list(evaluate_conditions("hard")) == ["all", "hard"]
    assert evaluate_conditions("hard")["hard"] == evaluate_conditions("gender,song")["hard"]
    assert list(evaluate_conditions("shorter than 2 s,cross song")) == ["all", "cross song", "shorter than 2 s"]
    monkeypatch.setattr(evaluation, "read_durations", refuse_to_work)
    assert list(evaluate_conditions("none")) == ["all"]


@pytest.mark.parametrize("command", ["evaluate", "probe", "calibrate", "trials", "audit"])
def test_a_missing_corpus_is_named_as_it_was_typed(command: str, model: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    takes_model = () if command in ("trials", "audit") else (model,)
    output = ("--out", tmp_path / "a.npz") if command == "calibrate" else ()
    output = ("--out", tmp_path / "a.csv") if command == "trials" else output
    said = refusal(command, *takes_model, nowhere, *output)
    assert said.startswith(f"{nowhere}: no such folder; expected <root>/")
