"""Lists of trials: the four formats, there and back, and what is refused."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from singer_verify.corpora.tables import read_text
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.trials.formats import FORMATS, infer_format, read_trials, write_trials
from singer_verify.evaluation.trials.layouts import detect_layout
from singer_verify.evaluation.trials.trial_list import TrialList

EXAMPLES = {
    "csv": "left,right,is_target,left_song\nval/a/1.wav,val/a/2.wav,1,NA\nval/a/1.wav,val/b/1.wav,0,007\n",
    "voxceleb": "1 val/a/1.wav val/a/2.wav\n0 val/a/1.wav val/b/1.wav\n",
    "kaldi": "val/a/1.wav val/a/2.wav target\nval/a/1.wav val/b/1.wav nontarget\n",
    "sony": "1,val/a/1.wav,val/a/2.wav\n0,val/a/1.wav,val/b/1.wav\n",
}


def rows(trials: TrialList) -> list[tuple[str, str, bool]]:
    return list(zip(trials.left.tolist(), trials.right.tolist(), trials.is_target.tolist(), strict=True))


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SingerVerifyError) as caught:
        read_trials(path)
    return str(caught.value)


PAIRS = [("val/a/1.wav", "val/a/2.wav", True), ("val/a/1.wav", "val/b b/1.wav", False), ("c.wav", "d.wav", False)]
PLAIN_PAIRS = [tuple(str(field).replace(" ", "") for field in pair[:2]) + pair[2:] for pair in PAIRS]


def join_lines(separator: str, order: str, words: tuple[str, str], pairs: list[tuple[str, str, bool]]) -> str:
    """Lines of fields in an order: paths `l` and `r`, the outcome `t`, an index `i`, a score `s`; after `"` quoted."""
    quote = '"' if '"' in order else ""
    lines = []
    for number, (left, right, is_target) in enumerate(pairs):
        fields = {"l": f"{quote}{left}{quote}", "r": f"{quote}{right}{quote}", "t": words[is_target]}
        fields |= {"i": str(number), "s": f"{0.5 - number}"}
        lines.append(separator.join(fields[field] for field in order if field in fields))
    return "\n".join([*lines, ""])


def random_list(seed: int, names: str) -> TrialList:
    generator = np.random.default_rng(seed)
    paths = np.array([f"val/{''.join(generator.choice(list(names), 6))}/{number}.wav" for number in range(20)], object)
    left, right = paths[generator.integers(20, size=(2, 100))]
    return TrialList(left, right, np.arange(100) % 3 == 0)


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_recognised_and_says_the_same(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / "list", EXAMPLES[name])
    assert detect_layout(path, read_text(path, "a list")).name == name
    assert rows(read_trials(path)) == [
        ("val/a/1.wav", "val/a/2.wav", True),
        ("val/a/1.wav", "val/b/1.wav", False),
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_a_list_is_written_as_its_example(name: str, tmp_path: Path) -> None:
    trials = read_trials(written(tmp_path / "list", EXAMPLES["csv"]))
    write_trials(tmp_path / "again", trials, name)
    assert (tmp_path / "again").read_text() == EXAMPLES[name]
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("seed", range(5))
def test_round_trip_through_all_formats(seed: int, tmp_path: Path) -> None:
    trials = random_list(seed, "aé遇#\"'\\|;10")
    for name in ("csv", "voxceleb", "kaldi", "sony", "csv"):
        write_trials(tmp_path / name, trials, name)
        again = read_trials(tmp_path / name)
        assert detect_layout(tmp_path / name, read_text(tmp_path / name, "a list")).name == name
        assert rows(again) == rows(trials)
        trials = again


@pytest.mark.parametrize("seed", range(3))
def test_blanks_survive_in_csv_and_sony_and_commas_in_csv(seed: int, tmp_path: Path) -> None:
    for name, names in (("csv", 'a b,"'), ("sony", 'a b"')):
        trials = random_list(seed, names)
        write_trials(tmp_path / "list", trials, name)
        assert rows(read_trials(tmp_path / "list")) == rows(trials)


@pytest.mark.parametrize(
    ("name", "path"), [("voxceleb", "a b.wav"), ("kaldi", "a\tb.wav"), ("sony", "a,b.wav"), ("csv", "a\rb.wav")]
)
def test_a_path_that_a_format_cannot_hold_is_refused_by_name(name: str, path: str, tmp_path: Path) -> None:
    trials = TrialList(np.array(["c.wav", "d.wav"], object), np.array(["d.wav", path], object), np.array([True, False]))
    with pytest.raises(SingerVerifyError, match=f"the format {name} cannot represent") as caught:
        write_trials(tmp_path / "list", trials, name)
    assert repr(path) in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FORMATS)
def test_marks_and_line_ends_of_other_systems_and_blank_lines(name: str, tmp_path: Path) -> None:
    expected = rows(read_trials(written(tmp_path / "plain", EXAMPLES[name])))
    foreign = "\ufeff\n" + EXAMPLES[name].replace("\n", "\r\n\r\n")
    assert rows(read_trials(written(tmp_path / "foreign", foreign))) == expected
    assert rows(read_trials(written(tmp_path / "open", EXAMPLES[name].rstrip("\n")))) == expected


def test_sony_with_a_header_and_voxceleb_with_many_blanks(tmp_path: Path) -> None:
    with_header = written(tmp_path / "s", "label,path1,path2\n" + EXAMPLES["sony"])
    assert rows(read_trials(with_header)) == rows(read_trials(written(tmp_path / "t", EXAMPLES["sony"])))
    assert rows(read_trials(written(tmp_path / "v", " 1\ta  b \n0 a c\n"))) == [("a", "b", True), ("a", "c", False)]


@pytest.mark.parametrize(
    "words",
    [
        *(("0", "1"), ("-1", "1"), ("0.0", "1.0"), ("False", "True"), ("FALSE", "TRUE"), ("nontarget", "target")),
        *(("Nontarget", "Target"), ("NONTARGET", "TARGET"), ("imp", "tgt"), ("non-target", "target")),
        *(("impostor", "genuine"), ("different", "same")),
    ],
)
@pytest.mark.parametrize("order", ["tlr", "lrt", "ltr", "tlrs", "lrst", "itlr", "ilrts"])
@pytest.mark.parametrize("separator", [" ", "\t", ",", ";"])
def test_words_places_and_separators_that_can_mean_only_one_thing(
    separator: str, order: str, words: tuple[str, str], tmp_path: Path
) -> None:
    content = join_lines(separator, order, words, PLAIN_PAIRS)
    assert rows(read_trials(written(tmp_path / "list", content))) == PLAIN_PAIRS
    if separator != " ":
        content = join_lines(separator, f'"{order}', words, PAIRS)
        assert rows(read_trials(written(tmp_path / "quoted", content))) == PAIRS
    if separator in ",;":
        content = join_lines(f"{separator} ", order, words, PAIRS)
        assert rows(read_trials(written(tmp_path / "spaced", content))) == PAIRS


@pytest.mark.parametrize(
    ("header", "order"),
    [
        *(("left,right,is_target", "lrt"), ("enrol,test,label", "lrt"), ("Label,Path1,Path2", "tlr")),
        *(
            (",left,right,is_target", "ilrt"),
            ("Unnamed: 0,left,right,is_target", "ilrt"),
            ("LEFT,RIGHT,IS_TARGET", "lrt"),
        ),
        *(("enrollment_path,test_path,target", "lrt"), ("file_1,file_2,same_singer", "lrt"), ("key,utt1,utt2", "tlr")),
        *(("singer,utterance,target", "lrt"), ("modelid,segmentid,targettype", "lrt"), ("key,speaker,test", "tlr")),
    ],
)
@pytest.mark.parametrize("separator", [",", ", ", ";", "\t", " "])
def test_headers_of_other_programs(header: str, order: str, separator: str, tmp_path: Path) -> None:
    if separator == " " and (header.startswith(",") or " " in header):
        return  # columns without a name, or with a blank in it, cannot be told apart
    content = f"{header.replace(',', separator)}\n{join_lines(separator, order, ('0', '1'), PLAIN_PAIRS)}"
    trials = read_trials(written(tmp_path / "list", content))
    assert rows(trials) == PLAIN_PAIRS
    assert trials.labels is None


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-8-sig"),
        lambda text: gzip.compress(text.encode()),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace("\n", "\n# and, so on\n").encode(),
        lambda text: f"# made in 2024\n#\n\n{text}".encode(),
        lambda text: f"#made,in 2024\n{text}#0 val/a/1.wav val/b/1.wav\n".encode(),
    ],
)
def test_encodings_line_ends_and_comments(encode: Callable[[str], bytes], name: str, tmp_path: Path) -> None:
    expected = rows(read_trials(written(tmp_path / "plain", EXAMPLES[name])))
    assert rows(read_trials(written(tmp_path / "list", encode(EXAMPLES[name])))) == expected
    assert detect_layout(tmp_path / "list", read_text(tmp_path / "list", "a list")).name == name


def test_files_may_be_named_like_the_columns_of_a_header(tmp_path: Path) -> None:
    path = written(tmp_path / "list", "enrol test target\nenrol right nontarget\n")
    assert rows(read_trials(path)) == [("enrol", "test", True), ("enrol", "right", False)]


def test_a_path_may_begin_with_the_mark_of_a_comment(tmp_path: Path) -> None:
    for content in (
        "1 #a b\n0 #a c\n",
        "#a b target\n#a c nontarget\n",
        "#a b 1\n#a c 0\n",
        "left,right,is_target\n#a,b,1\n#a,c,0\n",
    ):
        assert rows(read_trials(written(tmp_path / "list", content))) == [("#a", "b", True), ("#a", "c", False)]


@pytest.mark.parametrize(
    ("content", "number", "sentence"),
    [
        ("0,a,b,1\n1,a,c,0\n", 1, "fields 1 and 4 could both say"),
        ("a b c 1\na d e 0\n", 1, "is not in any known format"),
        ("1 a b\n-1 a c\n0 a d\n", 3, "'0 a d'; expected 3 fields"),
        ("a;b;1\na;c;0\na;d\n", 3, "'a;d'; expected 3 fields"),
        ("a;b;1\na;c;0\na;d;target\n", 3, "'a;d;target'"),
        ("enrol,test,label\na,b,1\na,c,maybe\n", 3, "'a,c,maybe'; expected 3 fields as in the header"),
        ('left,right,is_target\na,b,1\n"a,c,0\na,d,0\n', 3, "quotation marks in pairs"),
        ("one,two,three\na,b,1\na,c,0\n", 1, "or a header left,right,is_target"),
    ],
)
def test_what_could_mean_two_things_is_refused_with_its_line(
    content: str, number: int, sentence: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "list", content)
    assert f"{path}, line {number}: " in refusal(path)
    assert sentence in refusal(path)


def test_labels_are_strings_as_they_stand(tmp_path: Path) -> None:
    labels = read_trials(written(tmp_path / "list", EXAMPLES["csv"])).labels
    assert labels is not None
    assert labels.to_dict("list") == {"left_song": ["NA", "007"]}


@pytest.mark.parametrize(
    ("content", "number", "line"),
    [
        ("1 a b\n\n0 a\n", 3, "0 a"),
        ("1 left right\n0 left b c\n", 2, "0 left b c"),
        ("1 a b\n0 a b c\n", 2, "0 a b c"),
        ("1 a b\n0 a b c d\n", 2, "0 a b c d"),
        ("1 a b\n0 c d\n2 a b\n", 3, "2 a b"),
        ("a b target\na c nontarget\na b 1\n", 3, "a b 1"),
        ("1,a,b\n0,,b\n", 2, "0,,b"),
        ("1,a,b\n0,a,b,c\n", 2, "0,a,b,c"),
        ("left,right,is_target\na,b,1\nc,d,maybe\n", 3, "c,d,maybe"),
        ("left,right,is_target\na,b,1\nc,d\n", 3, "c,d"),
        ("left,right,is_target\na,b,1\n\nc,d,0,5\n", 4, "c,d,0,5"),
        ("left,right,is_target,song\na,,1,x\n", 2, "a,,1,x"),
        ("left,right,is_target\na,b,1,x\nc,d,0,y\n", 2, "a,b,1,x"),
        ("left,right,is_target,song\na,b,1,x\nc,d,0\n", 3, "c,d,0"),
        ('left,right,is_target\na,b,1\n"c,e",d,2\n', 3, "c,e,d,2"),
        ("x" * 140_000 + "\n1 a b\n", 1, "x" * 120 + "…"),
        ("nothing of the kind\n1 a b\n", 1, "nothing of the kind"),
    ],
)
def test_a_malformed_line_is_named_with_number_and_content(
    content: str, number: int, line: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "list", content)
    assert f"{path}, line {number}: {line!r}" in refusal(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "holds no trial"),
        (" \n\n", "holds no trial"),
        ("label,path1,path2\n", "holds no trial"),
        ("left,right,is_target\n", "holds no trial"),
        ("1 a b\n1 a c\n", "all its 2 trials are target trials"),
        ("a b nontarget\n", "all its 1 trials are non-target trials"),
        ("left,right,outcome\na,b,1\n", "has no column is_target"),
        ("left,right\na,b\na,b,1,2\n", "has no column is_target"),
        ("left,right,is_target,song,song\na,b,1,x,y\n", "has 2 columns 'song'"),
        ("left,right,is_target\na,b,1\n" + "c" * 140_000 + ",d,0\n", "line 3: cannot be read as csv (field larger"),
        ('left,right,is_target\na,b,1\n"c,d,0\n' + "a,b,1\n" * 30_000, "quotation marks in pairs"),
        (b"left,right,is_target\na,b,1\nc,\xff,0\n", "cannot be read as UTF-8 text"),
        (b"1 a b\n\xff\xfe", "cannot be read as UTF-8 text"),
        ("1 a b\n".encode("utf-16"), "all its 1 trials are target trials"),
        ("1 a b\n".encode("utf-16-le"), "as UTF-16 without a byte order mark"),
        (b"\xff\xfe1\x00 ", "cannot be read as utf-16 text"),
        (b"PK\x03\x04\x14", "is a zip file or a workbook"),
        (gzip.compress(b"1 a b\n", mtime=0)[:12], "cannot be read (Compressed file ended"),
    ],
)
def test_what_is_no_list_is_refused(content: str | bytes, sentence: str, tmp_path: Path) -> None:
    assert sentence in refusal(written(tmp_path / "list", content))


def test_no_such_file_folder_format_or_suffix(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "nothing.csv")
    assert "cannot be read" in refusal(tmp_path)
    trials = random_list(0, "ab")
    with pytest.raises(SingerVerifyError, match="no such folder"):
        write_trials(tmp_path / "nowhere/list.csv", trials, "csv")
    with pytest.raises(SingerVerifyError, match="format=nist: expected one of csv, voxceleb, kaldi, sony"):
        write_trials(tmp_path / "list", trials, "nist")
    assert [infer_format(Path(name)) for name in ("a.csv", "a.txt", "trials", "b.trials")] == [
        *("csv", "voxceleb", "kaldi", "kaldi")
    ]
    with pytest.raises(SingerVerifyError, match=r"no format of trials has the suffix \.wav"):
        infer_format(Path("a.wav"))


def test_labels_of_any_index_go_with_their_trials(tmp_path: Path) -> None:
    labels = pd.DataFrame({"left_singer": ["a", "b"]}, index=[7, 3])
    trials = TrialList(np.array(["1", "2"], object), np.array(["3", "4"], object), np.array([True, False]), labels)
    write_trials(tmp_path / "list.csv", trials, "csv")
    assert (tmp_path / "list.csv").read_text() == "left,right,is_target,left_singer\n1,3,1,a\n2,4,0,b\n"
