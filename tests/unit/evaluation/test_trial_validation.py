"""Lists of trials against a corpus: what is found wrong, what is left out, and which utterances paths mean."""

import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from singer_verify.corpora.corpus import find_contradicting_singer
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.trials.formats import read_trials
from singer_verify.evaluation.trials.trial_list import (
    ABSENT,
    TrialList,
    build_all_pairs,
    build_trial_list,
    index_trials,
    match_paths,
)
from singer_verify.evaluation.trials.validation import count_faults, select_valid_trials, validate_trials
from singer_verify.inference.evaluation import collect_fault_examples, format_fault_messages

ROOT = Path("corpus")
# Named as in Sony's list of VocalSet: without a split; two takes lack the singer's code, one of m9 is in male8.
FILES = (
    "female2/f2_long_messa_o_0_4_4s.wav",
    "female2/slow_vibrato_arps_32_36_4s.wav",
    "male1/m1_scales_straight_i_12_16_4s.wav",
    "male1/m1_row_spoken_8_12_4s.wav",
    "male10/m10_scales_belt_a_0_4_4s.wav",
    "male10/scales_c_fast_piano_i_0_4_4s.wav",
    "male8/m8_long_trill_a_0_4_4s.wav",
    "male8/m9_caro_vibrato_36_40_4s.wav",
    "male9/m9_caro_vibrato_16_20_4s.wav",
)
SINGER_OF = {f"val/{path}": path.partition("/")[0] for path in FILES}
F2, F2_SLOW, M1, M1_ROW, M10, M10_FAST, M8, M8_CARO, M9_CARO = FILES

SONY = f"""\
1,{F2},{F2_SLOW}
0,{M1},{M10}
1,{M10},{M10_FAST}
1,{M8},{M8_CARO}
0,{M8_CARO},{M9_CARO}
1,{M1},{M1}
1,{M10},{M1}
0,{M10},{M1}
1,{M10},{M10_FAST}
0,{F2},{F2}
1,{M1},{M1_ROW}
0,{M1_ROW},{M1}
0,{M8},{F2}
0,{M8},female2/f2_gone_0_4_4s.wav
1,female2/f2_gone_0_4_4s.wav,female2/f2_gone_0_4_4s.wav
0,male7/m7_gone_0_4_4s.wav,{M8}
0,{M9_CARO},{F2}
1,{M9_CARO},{M1_ROW}
"""


def list_with(*rows: tuple[str, str, bool]) -> TrialList:
    left, right, is_target = zip(*rows, strict=True)
    return TrialList(np.array(left, object), np.array(right, object), np.array(is_target))


@pytest.fixture
def sony(tmp_path: Path) -> TrialList:
    (tmp_path / "speaker_pairs.txt").write_text(SONY)
    return read_trials(tmp_path / "speaker_pairs.txt")


def test_a_miniature_of_sonys_list_is_diagnosed(sony: TrialList) -> None:
    diagnosis = validate_trials(sony, ROOT, SINGER_OF)
    assert count_faults(diagnosis) == {
        "num_listed": 18,
        "num_left_out": 9,
        "num_with_missing_files": 3,
        "num_self_pairs": 2,
        "num_duplicates": 4,
        "num_contradicting_labels": 1,
        "num_missing_files": 2,
        "num_missing_files_elsewhere": 0,
        "num_misnamed_files": 1,
        "num_with_missing_singers": 0,
        "num_missing_singers": 0,
    }
    assert collect_fault_examples(diagnosis) == {
        "missing_files": ["female2/f2_gone_0_4_4s.wav", "male7/m7_gone_0_4_4s.wav"],
        "missing_singers": [],
        "self_pairs": [f"val/{M1}", f"val/{F2}"],
        "duplicates": [f"val/{M10} – val/{M1}", f"val/{M10} – val/{M1}", f"val/{M10} – val/{M10_FAST}"],
        "contradicting_labels": [f"val/{M9_CARO} – val/{M1_ROW} listed as target"],
        "misnamed_files": [f"val/{M8_CARO} named after male9"],
    }


def test_what_is_found_is_said_in_sentences(sony: TrialList) -> None:
    said = format_fault_messages(validate_trials(sony, ROOT, SINGER_OF))
    assert [sentence.split(" (")[0] for sentence in said] == [
        "Trials of files that are not among the utterances of corpus, left out: 3; such files: 2",
        "Trials of a recording against itself, left out: 2",
        "Trials that repeat an earlier one in either order, left out: 4",
        "Trials whose label contradicts the folders, where the folders decide: 1",
        "Files named after another singer than their folder, where the folder decides: 1",
    ]
    assert said[2].endswith("; …).")
    assert "m9_caro_vibrato_36_40_4s.wav named after male9" in said[4]


def test_what_can_be_evaluated_is_kept_with_the_labels_of_the_folders(sony: TrialList) -> None:
    kept = select_valid_trials(sony, validate_trials(sony, ROOT, SINGER_OF))
    expected = [
        (F2, F2_SLOW, True),
        (M1, M10, False),
        (M10, M10_FAST, True),
        (M8, M8_CARO, True),
        (M8_CARO, M9_CARO, False),
        (M1, M1_ROW, True),
        (M8, F2, False),
        (M9_CARO, F2, False),
        (M9_CARO, M1_ROW, False),
    ]
    assert list(zip(kept.left, kept.right, kept.is_target, strict=True)) == [
        (f"val/{left}", f"val/{right}", is_target) for left, right, is_target in expected
    ]
    again = validate_trials(kept, ROOT, SINGER_OF)
    assert not again.is_excluded.any()
    assert len(format_fault_messages(again)) == 1  # the misnamed file


def test_a_list_without_fault_has_nothing_said_of_it() -> None:
    trials = list_with((f"val/{F2}", f"val/{F2_SLOW}", True), (f"val/{M1}", f"val/{M10}", False))
    diagnosis = validate_trials(trials, ROOT, SINGER_OF)
    assert format_fault_messages(diagnosis) == []
    assert count_faults(diagnosis)["num_left_out"] == 0


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_a_slow_loop(seed: int) -> None:
    generator = np.random.default_rng(seed)
    names = [*SINGER_OF, "val/none/1.wav", *(path.partition("/")[2] for path in list(SINGER_OF)[:3])]
    rows = [(*generator.choice(names, 2).tolist(), bool(generator.integers(2))) for _ in range(60)]
    seen: set[frozenset[str]] = set()
    expected = {"missing": 0, "self": 0, "duplicate": 0, "contradicting": 0}
    for left, right, is_target in rows:
        pair = [path if path.startswith("val/") else f"val/{path}" for path in (left, right)]
        fault = None
        if any(path not in SINGER_OF for path in pair):
            fault = "missing"
        elif pair[0] == pair[1]:
            fault = "self"
        elif frozenset(pair) in seen:
            fault = "duplicate"
        elif (SINGER_OF[pair[0]] == SINGER_OF[pair[1]]) != is_target:
            fault = "contradicting"
        if fault:
            expected[fault] += 1
        seen.add(frozenset(pair))
    counts = count_faults(validate_trials(list_with(*rows), ROOT, SINGER_OF))
    kinds = ("num_with_missing_files", "num_self_pairs", "num_duplicates", "num_contradicting_labels")
    assert [counts[kind] for kind in kinds] == list(expected.values())
    assert counts["num_left_out"] == sum(list(expected.values())[:3])


def test_labels_stay_with_their_trials() -> None:
    rows = ((M1, M1, True), (F2, F2_SLOW, True), (M1, M10, False))
    listed = list_with(*rows)
    trials = TrialList(listed.left, listed.right, listed.is_target, pd.DataFrame({"left_take": ["x", "y", "z"]}))
    labels = select_valid_trials(trials, validate_trials(trials, ROOT, SINGER_OF)).labels
    assert labels is not None
    assert labels.to_dict("list") == {"left_take": ["y", "z"]}


def test_files_of_another_split_are_told_from_files_that_are_nowhere(tmp_path: Path) -> None:
    (tmp_path / "train/male3").mkdir(parents=True)
    (tmp_path / "train/male3/m3_row.wav").touch()
    trials = list_with(
        *((F2, F2_SLOW, True), (M1, M10, False)),
        *(("male3/m3_row.wav", M1, False), ("train/male3/m3_row.wav", M1, False), ("male3/none.wav", M1, False)),
    )
    diagnosis = validate_trials(trials, tmp_path, SINGER_OF)
    assert (len(diagnosis.missing), diagnosis.num_elsewhere) == (3, 2)
    assert "2 of them in another split" in format_fault_messages(diagnosis)[0]


@pytest.mark.parametrize(
    "outside", ["{above}/other/1.wav", "../other/1.wav", "train/../../other/1.wav", "../corpus_2/1.wav", "", "."]
)
def test_files_outside_the_corpus_are_nowhere(tmp_path: Path, outside: str) -> None:
    root = tmp_path / "corpus"
    for path in ("corpus/val/a/1.wav", "other/1.wav", "corpus_2/1.wav"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    trials = list_with((F2, F2_SLOW, True), (outside.format(above=tmp_path), M1, False))
    diagnosis = validate_trials(trials, root, SINGER_OF)
    assert (len(diagnosis.missing), diagnosis.num_elsewhere) == (1, 0)


def test_a_link_of_the_corpus_is_a_file_of_it(tmp_path: Path) -> None:
    (tmp_path / "corpus/train/male3").mkdir(parents=True)
    (tmp_path / "downloaded.wav").touch()
    (tmp_path / "corpus/train/male3/m3_row.wav").symlink_to(tmp_path / "downloaded.wav")
    trials = list_with((F2, F2_SLOW, True), ("male3/m3_row.wav", M1, False))
    assert validate_trials(trials, tmp_path / "corpus", SINGER_OF).num_elsewhere == 1


@pytest.mark.parametrize("impossible", ["x" * 300, f"male3/{'x' * 300}.wav", "male3/\0.wav", "x/" * 3000])
def test_names_that_no_file_can_have_are_missing(tmp_path: Path, impossible: str) -> None:
    trials = list_with((F2, F2_SLOW, True), (impossible, M1, False))
    diagnosis = validate_trials(trials, tmp_path, SINGER_OF)
    assert (diagnosis.missing, diagnosis.num_elsewhere) == ((impossible,), 0)


def test_lists_that_cannot_be_about_this_corpus_are_refused() -> None:
    for rows, sentence in (
        ([("x/1.wav", "x/2.wav", True), ("x/1.wav", "y/1.wav", False)], "none of the 2 trials can be used.* x/1.wav"),
        (
            [(F2, F2_SLOW, False), (M1, M10, True), (M8, M1, False)],
            "the labels of 2 of 3 trials contradict the folders",
        ),
        ([(F2, F2_SLOW, True), (M1, "x/1.wav", False)], "what is left of the 2 trials: all its 1 trials are target"),
        ([(F2, F2, True), (M1, M1, False)], "what is left of the 2 trials: holds no trial"),
        (
            [(F2, F2_SLOW, False), (M1, M1_ROW, False), (M8, M1, True)],
            "the labels are reversed: 3 of 3 trials .* expected 1 .or target. for the same singer",
        ),
    ):
        trials = list_with(*rows)
        with pytest.raises(SingerVerifyError, match=sentence):
            select_valid_trials(trials, validate_trials(trials, ROOT, SINGER_OF))


@pytest.mark.parametrize(
    "listed",
    [
        "val/male1/m1_row.wav",
        "male1/m1_row.wav",
        "./male1/m1_row.wav",
        "/data/vocalset/val/male1/m1_row.wav",
        "../vocalset_44k/male1/m1_row.wav",
        "male1\\m1_row.wav",
    ],
)
def test_a_path_may_be_relative_to_the_root_or_a_split_or_carry_a_prefix(listed: str) -> None:
    paths = ["val/male10/m1_row.wav", "val/male1/m1_row.wav", "val/male1/takes/m1_row.wav"]
    assert match_paths([listed], paths).tolist() == [1]


def test_a_path_means_nothing_else() -> None:
    paths = ["val/male1/m1_row.wav"]
    for listed in ("1_row.wav", "ale1/m1_row.wav", "male1/m1_row.flacs", "male10/m1_row.wav", "val/m1_row.wav", ""):
        assert match_paths([listed], paths).tolist() == [ABSENT]


def test_letters_with_accents_in_either_spelling() -> None:
    composed = "val/barış/şarkı.wav"
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed
    assert match_paths([decomposed, composed, decomposed[4:]], [composed]).tolist() == [0, 0, 0]
    assert match_paths([composed], [decomposed]).tolist() == [0]


def test_a_path_that_fits_two_utterances_is_refused_unless_it_is_exact() -> None:
    paths = ["train/a/1.wav", "val/a/1.wav", "a/b/1.wav", "val/a/b/1.wav"]
    with pytest.raises(SingerVerifyError, match=r"^a/1.wav: matches both train/a/1.wav and val/a/1.wav"):
        match_paths(["val/a/1.wav", "a/1.wav"], paths)
    assert match_paths(["a/b/1.wav"], paths).tolist() == [2]


def test_indices_are_the_places_of_the_utterances() -> None:
    paths = np.array(list(SINGER_OF), object)
    every = build_all_pairs(np.unique([SINGER_OF[path] for path in paths], return_inverse=True)[1])
    again = index_trials(build_trial_list(every, paths), paths)
    for name in ("left", "right", "is_target"):
        np.testing.assert_array_equal(getattr(again, name), getattr(every, name))
    with pytest.raises(SingerVerifyError, match=r"none of the 2 utterances \(7 such files\)"):
        index_trials(build_trial_list(every, paths), paths[:2])


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("val/male8/m9_caro_vibrato.wav", "male9"),
        ("val/male8/m9_caro_vibrato_36_40_4s.wav", "male9"),
        ("val/male1/m10_row.wav", "male10"),
        ("val/male10/m1_row.wav", "male1"),
        ("val/male1/f1_row.wav", "female1"),
        ("val/male1/excerpts/m1_row.wav", None),
        ("val/male10/m10_row.wav", None),
        ("val/male1/row_m9.wav", None),
        ("val/male1/m1row.wav", None),
        ("val/male1/messa9.wav", None),
        ("val/male1/male10_row.wav", "male10"),
        ("val/male10/male1_row.wav", "male1"),
        ("val/male10/male10_row.wav", None),
        ("val/anna/anna maria_1.wav", None),
        ("val/anna maria/anna maria_1.wav", None),
        ("val/anna/berta#Lied.wav", "berta"),
        ("val/anna/bertalied.wav", None),
        ("val/anna/12_lied.wav", None),
        ("val/anna/m9_lied.wav", None),
    ],
)
def test_a_name_tells_a_singer_by_whole_words(path: str, told: str | None) -> None:
    singers = {"male1", "male8", "male9", "male10", "female1", "anna", "anna maria", "berta", "12"}
    assert find_contradicting_singer(path, path.split("/")[1], singers) == told
