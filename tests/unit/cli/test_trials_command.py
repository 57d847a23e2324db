"""The command `singer-verify trials`: drawn lists, all pairs, another list checked and converted; what it refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from support.audio import SAMPLE_RATE, sing
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.corpora import duplicates
from singer_verify.corpora.tables import read_text
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.trials.formats import FORMATS, read_trials
from singer_verify.evaluation.trials.layouts import detect_layout


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two splits of empty files, with labels: `val` has 4 singers × 6 utterances of 3 songs."""
    root = tmp_path / "corpus"
    rows = []
    for split, singers in (("train", ("male3", "female3")), ("val", ("male1", "male10", "female1", "female2"))):
        for singer in singers:
            (root / split / singer).mkdir(parents=True)
            for song in ("caro", "dona", "row"):
                for take in (1, 2):
                    path = root / split / singer / f"{singer[0]}{singer.lstrip('femal')}_{song}_{take}.wav"
                    path.touch()
                    gender = singer.rstrip("0123456789")
                    rows.append((path.relative_to(root).as_posix(), singer, split, gender, song))
    table = pd.DataFrame(rows, columns=["utterance", "singer", "split", "gender", "song"])
    table.to_csv(root / "corpus.csv", index=False)
    return root


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["trials", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: object) -> str:
    with pytest.raises(SingerVerifyError) as caught:
        CliRunner().invoke(app, ["trials", *map(str, arguments)], catch_exceptions=False)
    return str(caught.value)


def test_a_drawn_list_is_balanced_labelled_and_seeded(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "list.csv"
    record = json.loads(call(corpus, "--out", out, "--num", 20, "--json"))
    assert [record[key] for key in ("format", "num_trials", "num_targets", "num_singers")] == ["csv", 40, 20, 4]
    table = pd.read_csv(out)
    assert list(table) == [
        *("left", "right", "is_target", "left_singer", "right_singer"),
        *("left_gender", "right_gender", "left_song", "right_song"),
    ]
    assert table["left"].str.match("val/").all()
    np.testing.assert_array_equal(table["left_singer"], table["left"].str.split("/").str[1])
    np.testing.assert_array_equal(table["is_target"] == 1, table["left_singer"] == table["right_singer"])
    drawn = out.read_text()
    for seed, is_same in ((0, True), (1, False)):
        call(corpus, "--out", out, "--num", 20, "--seed", seed)
        assert (out.read_text() == drawn) is is_same


def test_hard_trials_and_all_pairs(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "list.csv"
    assert "276 trials, 60 of them target trials, of 24 utterances of 4 singers; format csv" in call(
        corpus, "--out", out, "--all"
    )
    call(corpus, "--out", out, "--all", "--hard")
    assert len(read_trials(out)) == 4 * 12 + 2 * 24
    call(corpus, "--out", out, "--hard")
    table = pd.read_csv(out)
    assert (len(table), table["is_target"].sum()) == (96, 48)
    assert (table["left_song"] != table["right_song"]).all()
    assert (table["left_gender"] == table["right_gender"]).all()
    call(corpus, "--out", out, "--split", "train")
    assert set(pd.read_csv(out)["left_singer"]) == {"male3", "female3"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_list_is_converted_between_all_formats(name: str, corpus: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second"
    call(corpus, "--out", first, "--num", 30)
    assert "No fault found." in call(corpus, "--out", second, "--list", first, "--format", name)
    assert detect_layout(second, read_text(second, "a list")).name == name
    call(corpus, "--out", tmp_path / "third.csv", "--list", second)
    assert (tmp_path / "third.csv").read_text() == first.read_text()


@pytest.mark.parametrize(
    "change",
    [
        lambda path: f"./{path}",
        lambda path: f"D:\\data\\{path}".replace("/", "\\"),
        lambda path: f"/elsewhere/{path}",
        lambda path: path.removesuffix(".wav"),
        lambda path: path.replace(".wav", ".flac"),
        lambda path: path.upper(),
        lambda path: path.rpartition("/")[2],
        lambda path: Path(path).stem,
    ],
)
def test_paths_of_another_machine_are_found(change: Callable[[str], str], corpus: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second"
    call(corpus, "--out", first, "--num", 30)
    rows = pd.read_csv(first, dtype=str)
    lines = [f"{change(row.left)} {change(row.right)} {row.is_target} 0.5\n" for row in rows.itertuples()]
    second.write_text("".join(lines))
    assert "No fault found." in call(corpus, "--out", tmp_path / "third.csv", "--list", second)
    assert (tmp_path / "third.csv").read_text() == first.read_text()


def test_names_that_fit_several_files_are_refused_with_two_of_them(tmp_path: Path) -> None:
    for singer in ("a", "b", "c"):
        (tmp_path / "val" / singer).mkdir(parents=True)
        for take in (1, 2):
            (tmp_path / f"val/{singer}/{take}.wav").touch()
    (tmp_path / "list").write_text("1 1 2\n0 2 1\n")
    assert "1: matches both val/a/1.wav and val/b/1.wav" in refusal(
        *(tmp_path, "--out", tmp_path / "out.csv", "--list", tmp_path / "list")
    )


def test_reversed_lists_and_lists_of_singers_are_refused(corpus: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second"
    call(corpus, "--out", first, "--num", 30)
    rows = pd.read_csv(first, dtype=str)
    second.write_text("".join(f"{1 - int(row.is_target)} {row.left} {row.right}\n" for row in rows.itertuples()))
    assert "the labels are reversed: 60 of 60" in refusal(corpus, "--out", tmp_path / "a.csv", "--list", second)
    words = {"1": "target", "0": "nontarget"}
    second.write_text("".join(f"{row.left_singer} {row.right} {words[row.is_target]}\n" for row in rows.itertuples()))
    assert "second: its left side names singers, and only pairs of recordings can be converted" in refusal(
        corpus, "--out", tmp_path / "a.csv", "--list", second
    )


def test_faults_of_a_list_are_said_and_left_out(corpus: Path, tmp_path: Path) -> None:
    (corpus / "val/male1/m10_dona_9.wav").touch()
    listed = tmp_path / "speaker_pairs.txt"
    listed.write_text(
        "1,male1/m1_caro_1.wav,male1/m10_dona_9.wav\n0,male1/m1_caro_1.wav,male3/m3_row_1.wav\n"
        "0,male3/m3_row_1.wav,male1/m1_caro_1.wav\n1,male1/m1_row_1.wav,male1/m1_row_1.wav\n"
        "0,male1/m1_caro_1.wav,male4/m4_row_1.wav\n"
    )
    said = call(corpus, "--out", tmp_path / "a.txt", "--list", listed)
    assert "male4/m4_row_1.wav" in said
    assert "m10_dona_9.wav named after male10" in said
    assert said.splitlines()[-1].endswith(
        "2 trials, 1 of them target trials, of 3 utterances of 2 singers; format voxceleb."
    )
    assert (tmp_path / "a.txt").read_text() == (
        "1 val/male1/m1_caro_1.wav val/male1/m10_dona_9.wav\n0 val/male1/m1_caro_1.wav train/male3/m3_row_1.wav\n"
    )
    record = json.loads(call(corpus, "--out", tmp_path / "a.txt", "--list", listed, "--json"))
    assert record["findings"]["num_duplicates"] == 1
    assert record["examples"]["missing_files"] == ["male4/m4_row_1.wav"]
    assert "all its 1 trials are target trials" in refusal(
        *(corpus, "--out", tmp_path / "b.txt", "--list", listed, "--split", "val")
    )


def record_decoded_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    decoded: list[str] = []
    compute = duplicates.compute_content

    def record(path: Path, min_s: float) -> int:
        decoded.append(path.name)
        return compute(path, min_s)

    monkeypatch.setattr(duplicates, "compute_content", record)
    return decoded


def test_only_the_files_that_a_list_names_are_decoded(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("1 m1_caro_1 m1_dona_1.wav\n0 male1/m1_caro_1.wav male10/m10_row_2.mp3\n0 m1_caro_1 gone.wav\n")
    decoded = record_decoded_files(monkeypatch)
    call(corpus, "--out", tmp_path / "a.csv", "--list", listed)
    assert sorted(decoded) == ["m10_row_2.wav", "m1_caro_1.wav", "m1_dona_1.wav"]
    decoded.clear()
    call(corpus, "--out", tmp_path / "b.csv")
    assert len(decoded) == 24


def test_copies_in_a_list_count_as_one_recording(corpus: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("male1/m1_caro_1", "male1/m1_dona_1", "male10/m10_caro_1")):
        soundfile.write(corpus / f"val/{name}.wav", sing(number), SAMPLE_RATE)
    shutil.copy(corpus / "val/male1/m1_caro_1.wav", corpus / "val/male1/take.wav")
    listed = tmp_path / "list.txt"
    rows = [
        "1 m1_caro_1 m1_dona_1",
        "0 m1_caro_1 m10_caro_1",
        "1 take m1_dona_1",
        "1 take m1_caro_1",
        "0 take m10_row_1",
    ]
    listed.write_text("\n".join(rows))
    record = json.loads(call(corpus, "--out", tmp_path / "a.txt", "--list", listed, "--json"))
    assert [record["findings"][f"num_{fault}"] for fault in ("self_pairs", "duplicates", "left_out")] == [1, 1, 2]
    assert (tmp_path / "a.txt").read_text().splitlines()[-1] == "0 val/male1/m1_caro_1.wav val/male10/m10_row_1.wav"


@pytest.mark.parametrize("has_list", [False, True])
def test_progress_goes_to_standard_error(corpus: Path, tmp_path: Path, has_list: bool) -> None:
    call(corpus, "--out", tmp_path / "list.csv", "--num", 5)
    source = ("--list", tmp_path / "list.csv") if has_list else ()
    arguments = ["trials", str(corpus), "--out", str(tmp_path / "a.csv"), *map(str, source), "--json"]
    result = CliRunner(env={"FORCE_COLOR": "1"}).invoke(app, arguments, catch_exceptions=False)
    assert "Comparing" in result.stderr
    assert "Comparing" not in result.stdout
    json.loads(result.stdout)


def test_refusals(corpus: Path, tmp_path: Path) -> None:
    out, listed = tmp_path / "list.csv", tmp_path / "listed"
    assert "--list checks a list as it is" in refusal(corpus, "--out", out, "--list", listed, "--hard")
    assert "--all takes every pair; leave out --num 5" in refusal(corpus, "--out", out, "--all", "--num", 5)
    assert "is the list itself" in refusal(corpus, "--out", listed, "--list", listed)
    assert "no such file" in refusal(corpus, "--out", out, "--list", listed)
    assert "no format of trials has the suffix" in refusal(corpus, "--out", tmp_path / "list.npz")
    assert "format=nist: expected one of" in refusal(corpus, "--out", out, "--format", "nist")
    assert "ask for at most 60" in refusal(corpus, "--out", out, "--num", 61)
    assert "no such folder" in refusal(corpus / "none", "--out", out)
    assert "has no folder test" in refusal(corpus, "--out", out, "--split", "test")
    (corpus / "corpus.csv").unlink()
    assert "no song is known (labels found: none)" in refusal(corpus, "--out", out, "--hard")
    assert not out.exists()
