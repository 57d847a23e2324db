"""Tables of labels as other programs and machines write them join the utterances, or it is said what did not."""

import csv
import io
import logging
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from support.cli import call, refusal
from support.dataset_miniatures import write_all

from singer_verify.cli import app
from singer_verify.corpora.corpus import read_corpus
from singer_verify.corpora.labels import (
    CORPUS_TABLE_NAME,
    OTHER_UTTERANCE_COLUMNS,
    SINGER_COLUMN,
    UTTERANCE_COLUMN,
    read_label_table,
    read_utterance_labels,
)
from singer_verify.corpora.matching import ABSENT, match_paths
from singer_verify.errors import SingerVerifyError

NFC, NFD = (unicodedata.normalize(form, "zoë") for form in ("NFC", "NFD"))
PATHS = [f"{split}/{singer}/{take}.flac" for split, singer in (("train", "anna"), ("val", NFC)) for take in (1, 2)]
ROWS = [(path, path.split("/")[1], f"song{number}") for number, path in enumerate(PATHS)]


def format_table(separator: str = ",", change: Callable[[str], str] = lambda path: path, header: str = "") -> str:
    lines = [separator.join((change(path), singer, song)) for path, singer, song in ROWS]
    return "\n".join([header or separator.join(("utterance", "singer", "song")), *lines, ""])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    return tmp_path


def read_songs(root: Path, content: str | bytes, paths: list[str] | None = None) -> list[str]:
    (root / "corpus.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_utterance_labels(PATHS if paths is None else paths, root)["song"].tolist()


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path,
        lambda path: path.replace("/", "\\"),
        lambda path: f"./{path}",
        lambda path: f"/data/vocalset/{path}",
        lambda path: f"D:\\data\\vocalset\\{path}".replace("/", "\\"),
        lambda path: path.replace(".flac", ".wav"),
        lambda path: path.removesuffix(".flac"),
        lambda path: path.partition("/")[2],
        lambda path: path.upper(),
        lambda path: unicodedata.normalize("NFD", path),
        lambda path: f"elsewhere/{path.partition('/')[2]}".replace(".flac", ".MP3"),
    ],
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_paths_of_another_machine_join(
    change: Callable[[str], str], separator: str, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_songs(root, format_table(separator, change)) == ["song0", "song1", "song2", "song3"]
    assert not caplog.text


@pytest.mark.parametrize(
    "content",
    [
        format_table().replace(",", ", "),
        format_table().replace("\n", "\r\n"),
        format_table().replace("\n", "\r"),
        "\ufeff" + format_table().replace("\n", "\r\n"),
        format_table().encode("utf-16"),
        "\n\n" + format_table().replace("\n", "\n\n"),
        format_table(header="UTTERANCE,SINGER,SONG"),
        format_table(header=" Utterance,Singer,Song "),
        format_table(header="utterance;singer;song", separator=";"),
        format_table().replace("\n", ",\n"),
        "\n".join(",".join(f'"{field}"' for field in line.split(",")) for line in format_table().splitlines()),
        "\n".join(f"{number},{line}" for number, line in enumerate(format_table().splitlines())).replace("0,", ",", 1),
    ],
)
def test_dialects_of_other_programs_are_read(
    content: str | bytes, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_songs(root, content) == ["song0", "song1", "song2", "song3"]
    assert not caplog.text


def test_paths_on_disk_in_nfd_join_a_table_in_nfc(tmp_path: Path) -> None:
    path = f"val/{NFD}/{NFD}.wav"
    assert read_songs(tmp_path, f"utterance,song\nval/{NFC}/{NFC}.wav,{NFD}\n", [path]) == [NFC]


@pytest.mark.parametrize("header", ["singer,song", "SINGER;SONG", "singer\tsong"])
def test_a_row_per_singer_is_for_all_the_utterances(header: str, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    separator = next(character for character in ",;\t" if character in header)
    content = "\n".join([header, f"Anna{separator}x", f"{NFD}{separator}y", f"{NFD}{separator}y"])
    assert read_songs(root, content) == ["x", "x", "y", "y"]
    assert not caplog.text
    with pytest.raises(SingerVerifyError, match=r"lists anna twice; expected one line per singer"):
        read_songs(root, "singer,song\nanna,x\nanna,y\n")


@pytest.mark.parametrize("column", ["path", "file", "Filename", "audio"])
def test_columns_of_other_names_hold_the_utterances(root: Path, column: str) -> None:
    assert read_songs(root, format_table().replace("utterance", column, 1)) == ["song0", "song1", "song2", "song3"]


def test_a_path_beside_the_utterance_is_a_label(root: Path) -> None:
    rows = "".join(f"{path},song{number},old{number}.wav\n" for number, path in enumerate(PATHS))
    assert read_songs(root, f"utterance,song,path\n{rows}") == ["song0", "song1", "song2", "song3"]


def test_what_lacks_a_row_is_counted_and_named(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_songs(root, f"utterance,song\n{PATHS[0]},x\n") == ["x", "", "", ""]
    assert f"has no row for 3 of 4 utterances, whose labels are unknown ({', '.join(PATHS[1:])})" in caplog.text


def test_a_table_of_which_nothing_joins_is_refused(root: Path) -> None:
    with pytest.raises(SingerVerifyError) as caught:
        read_songs(root, "utterance,song\nbert/1.flac,x\nbert/2.flac,y\n")
    assert "lists bert/1.flac and 1 other files, not in" in str(caught.value)
    assert f"whose files are {PATHS[0]}" in str(caught.value)
    with pytest.raises(SingerVerifyError, match=r"lists bert, not in .* singers are anna"):
        read_songs(root, "singer,song\nbert,x\n")


def test_a_split_that_a_table_leaves_out_is_no_mistake(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_songs(root, f"utterance,song\n{PATHS[0]},x\n", PATHS[2:]) == ["", ""]
    assert "has no row for 2 of 2 utterances" in caplog.text


def test_a_singer_that_contradicts_the_folder_is_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_songs(root, format_table().replace(",anna,", ",bert,")) == ["song0", "song1", "song2", "song3"]
    assert "names another singer than the folder for 2 of 4 utterances (train/anna/1.flac: bert" in caplog.text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (format_table().encode("latin-1"), r"line 4: cannot be read as UTF-8 text \(byte 0xeb in 'val/zoë/1"),
        (b"PK\x03\x04abc", "is a zip file or a workbook"),
        ("utterance,song\na,b,c\n", r"line 2: 'a,b,c'; expected 2 fields as in the header"),
        ("utterance,song,song\na,b,c\n", "has two columns 'song'"),
        ("song\nx\n", r"has no column utterance or singer \(columns found: song\)"),
        (f"utterance,song\n{PATHS[0]},x\n./{PATHS[0]},y\n", f"lists {PATHS[0]} twice, as"),
        ("utterance,song\nanna/1.wav,x\nanna/1.mp3,y\n", "lists train/anna/1.flac twice, as anna/1.wav and as"),
        ('utterance,song\n"a,b\n' + "x" * 140_000, "line 2: cannot be read as csv"),
        ("", "it is empty"),
        ('""', r"corpus.csv: cannot be read as a table \(it is empty\); expected a header with a column utterance or"),
        (' \r\n""\n\n', "it is empty"),
        (f"{'x' * 140_000},song\n", "line 1: cannot be read as csv"),
        (f'\n"utterance\n{"x" * 140_000}', "line 2: cannot be read as csv"),
        ("\n\r\n\nutterance,song\na,b,c\n", r"line 5: 'a,b,c'; expected 2 fields"),
        ("\r  \rutterance,song\r\ra,b,c\r", r"line 5: 'a,b,c'; expected 2 fields"),
    ],
)
def test_what_is_no_table_or_says_two_things_is_refused(content: str | bytes, sentence: str, root: Path) -> None:
    with pytest.raises(SingerVerifyError, match=sentence):
        read_songs(root, content, PATHS)


def test_a_row_with_the_suffix_of_the_file_goes_first(root: Path) -> None:
    for suffixes in ((".wav", ".flac"), (".flac", ".wav")):
        rows = [f"anna/1{suffix},{suffix}\n" for suffix in suffixes]
        assert read_songs(root, "".join(["utterance,song\n", *rows]))[0] == ".flac"


def test_the_row_with_exactly_the_path_goes_first(root: Path) -> None:
    for rows in (
        ["train/anna/2.flac,loose", "train/anna/1.FLAC,loose", "train/anna/1.flac,own"],
        ["anna/1.flac,loose", "1.FLAC,loose", "train/anna/1.flac,own"],
        ["TRAIN/ANNA/1.flac,loose", ".\\train\\anna\\1.flac,own"],
    ):
        for order in (rows, rows[::-1]):  # whichever stands first
            paths = ["train/anna/1.flac", PATHS[2]]
            assert read_songs(root, "\n".join(["utterance,song", *order]), paths) == ["own", ""]


@pytest.mark.parametrize("listed", ["val/anna/A1.wav", "anna/A1.wav", "val/anna/a1.flac", "A1"])
def test_rows_of_utterances_that_cannot_be_used_are_for_no_other(listed: str, tmp_path: Path) -> None:
    paths, others = ["val/anna/a1.wav", "val/anna/2.wav"], ["val/anna/A1.wav", "val/anna/a1.flac", "val/anna/2.wav"]
    for root, prefix in ((tmp_path, ""), (tmp_path / "set", "set/")):
        root.mkdir(exist_ok=True)
        (root / "corpus.csv").write_text(f"utterance,song\n{listed},x\nval/anna/2.wav,y\n")
        labels = read_utterance_labels(
            [prefix + path for path in paths],
            tmp_path,
            [root] if prefix else [],
            others=[prefix + path for path in others],
        )
        assert labels["song"].tolist() == ["", "y"]


def test_values_that_look_like_numbers_or_nothing_are_strings(root: Path) -> None:
    values = ["nan", "NA", "1e3", "001"]
    content = "utterance,song\n" + "".join(f"{path},{value}\n" for path, value in zip(PATHS, values, strict=True))
    assert read_songs(root, content) == values
    for value in ("None", "true", "null", "-1", ""):
        (root / "corpus.csv").write_text(f"singer,song\n{value or 'x'},{value}\n")
        assert read_label_table(root / CORPUS_TABLE_NAME)["song"].to_dict() == {value or "x": value}


def test_paths_match_only_what_they_can_mean() -> None:
    paths = ["train/anna/1.wav", "val/emma/1.wav", "val/emma/cd1/2.wav", "val/Emil/3.wav", "val/emil/3.wav"]
    for listed, place in (
        *(("2.wav", 2), ("2", 2), ("cd1/2.mp3", 2), ("EMMA/1.WAV", 1), ("emma/1", 1), ("Emil/3.flac", 3)),
        *(("1.wav", ABSENT), ("bert/1.wav", ABSENT), ("cd2/2.wav", ABSENT), ("EMIL/3.wav", ABSENT)),
        *(("emma/1.take", ABSENT), ("", ABSENT), ("/", ABSENT), (".", ABSENT)),
    ):
        assert match_paths([listed, paths[0]], paths).tolist() == [place, 0], listed
    with pytest.raises(SingerVerifyError, match=r"1\.wav: matches both train/anna/1\.wav and val/emma/1\.wav"):
        match_paths(["1.wav"], paths)


def test_files_of_one_folder_elsewhere_match_by_name() -> None:
    paths = ["val/anna/a1.wav", "val/anna/a2.wav", "val/bert/b1.wav"]
    assert match_paths(["/data/wavs/a1.flac", "/data/wavs/b1.flac", "/data/wavs/c1.flac"], paths).tolist() == [0, 2, -1]
    assert match_paths(["cora/a1.wav", "cora/a2.wav"], paths).tolist() == [-1, -1]  # one singer's, of another corpus
    assert match_paths(["anna/a1.wav", "cora/a2.wav"], paths).tolist() == [0, -1]


def test_prepare_joins_labels_and_splits_of_other_programs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    split_by_name = {"anna": "train", "bert": "train", NFC: "val", "emma": "val"}
    files = [f"{split}/{name}/{take}.wav" for name, split in split_by_name.items() for take in (1, 2)]
    source = write_all(tmp_path / "set", files)
    labels, out = tmp_path / "labels.csv", tmp_path / "out"
    labels.write_text(f"Utterance;Gender\nC:\\set\\anna\\1.flac;female\n.\\{NFD}\\2.wav;male\nnobody/1.wav;male\n")
    call("prepare", "folder", source, "--out", out, "--labels", labels)
    rows = read_label_table(out / CORPUS_TABLE_NAME)
    unknown = [f"train/{name}/{take}.wav" for name in ("anna", "bert") for take in (1, 2)]
    unknown += [f"val/{name}/{take}.wav" for name in ("emma", NFC) for take in (1, 2)]
    labelled = {"train/anna/1.wav": "female", f"val/{NFC}/2.wav": "male"}
    assert rows["gender"].to_dict() == dict.fromkeys(unknown, "") | labelled
    assert "has no row for 6 of 8 utterances" in caplog.text
    assert "1 of its 3 rows are for no recording (nobody/1.wav)" in caplog.text
    labels.write_text(f"singer\tgender\nanna\tf\nbert\tm\n{NFD}\tf\nemma\tf\n")
    call("prepare", "folder", source, "--out", tmp_path / "by_singer", "--labels", labels)
    assert set(read_label_table(tmp_path / "by_singer" / CORPUS_TABLE_NAME)["gender"]) == {"f", "m"}
    labels.write_text("singer,gender\ncora,f\n")
    assert "lists cora, not in" in refusal("prepare", "folder", source, "--out", tmp_path / "none", "--labels", labels)
    splits = tmp_path / "splits.csv"
    splits.write_text(f"\ufeffSINGER;SPLIT\r\nemma; Train\r\nanna;train\r\nbert;val\r\n{NFD};val\r\n{NFD};val\r\n")
    call("prepare", "folder", source, "--out", tmp_path / "split", "--splits", splits)
    assert read_corpus(tmp_path / "split").splits["val"].singers == ("bert", NFC)
    splits.write_text(f"singer,split\nemma,train\nanna,train\nbert,val\n{NFC},val\n{NFD},train\n")
    assert f"lists {NFC} twice" in refusal("prepare", "folder", source, "--out", tmp_path / "two", "--splits", splits)


def test_a_name_that_no_table_holds_is_refused_by_prepare(tmp_path: Path) -> None:
    source = write_all(tmp_path / "set", [f"{name}/1.wav" for name in ("a\rb", "c", "d", "e")])
    assert "a\\rb/1.wav' contains a line break" in refusal("prepare", "folder", source, "--out", tmp_path / "out")


@pytest.mark.parametrize("seed", range(5))
def test_odd_names_of_a_prepared_corpus_read_back_equal(seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    odd = list("a\"',;| #=-é遇[]{}$%&*()~`!?+^@")
    names = {"".join(generator.choice(odd, 5)).strip(" ") for _ in range(12)} | {
        "nan",
        "NA",
        "001",
        "1e3",
        "None",
        " a",
    }
    source = write_all(tmp_path / "set", [f"{name}/{name}.wav" for name in sorted(names) if name])
    call("prepare", "folder", source, "--out", tmp_path / "out")
    corpus = read_corpus(tmp_path / "out")
    utterances = [utterance for split in corpus.splits.values() for utterance in split.utterances]
    table = read_label_table(tmp_path / "out" / CORPUS_TABLE_NAME)
    assert set(table.index) == {utterance.path for utterance in utterances}
    assert {utterance.singer for utterance in utterances} == {
        unicodedata.normalize("NFC", name) for name in names if name
    }
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/corpus.csv").read_text(), newline="")))
    assert {(row["utterance"], row["singer"]) for row in rows} == {
        (utterance.path, utterance.singer) for utterance in utterances
    }


def test_the_columns_of_a_table_are_named_in_help_and_error(tmp_path: Path) -> None:
    (prepare,) = (one for one in typer.main.get_command(app).commands.values() if one.name == "prepare")  # type: ignore[attr-defined]
    (said,) = (option.help for option in prepare.params if option.name == "labels")
    (tmp_path / "labels.csv").write_text("clip,song\na.wav,kids\n")
    with pytest.raises(SingerVerifyError) as refused:
        read_label_table(tmp_path / "labels.csv", "--labels ")
    for name in (UTTERANCE_COLUMN, SINGER_COLUMN, *OTHER_UTTERANCE_COLUMNS):
        assert re.search(rf"\b{name}\b", said)
        assert re.search(rf"\b{name}\b", str(refused.value))


def test_a_column_of_files_in_a_table_of_singers_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "labels.csv").write_text("clip,singer,song\nanna/1.wav,anna,kids\nben/1.FLAC,ben,dona\n")
    with caplog.at_level(logging.WARNING, "singer_verify"):
        assert list(read_label_table(tmp_path / "labels.csv").columns) == ["clip", "song"]
    (record,) = caplog.records
    assert "the column clip names files" in record.getMessage()
