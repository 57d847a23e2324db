"""Which trials a condition keeps, and the labels that decide it."""

from pathlib import Path

import numpy as np
import pytest

from singer_verify.corpora.labels import read_utterance_labels
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.conditions import Conditions, UtteranceMetadata, select_conditions
from singer_verify.evaluation.trials.trial_list import build_all_pairs

# Two women and a man; the last utterance's song is unknown.
SINGERS = np.array([0, 0, 1, 2, 2])
GENDER = np.array(["female", "female", "female", "male", "male"])
SONG = np.array(["a", "b", "a", "b", ""])


def conditions_of(labels: dict[str, np.ndarray], left: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
    return dict(Conditions(UtteranceMetadata(labels)).iterate_masks(left, right))


def pairs_of(kept: np.ndarray) -> set[tuple[int, int]]:
    trials = build_all_pairs(SINGERS)
    return set(zip(trials.left[kept].tolist(), trials.right[kept].tolist(), strict=True))


@pytest.mark.parametrize("kind", [object, str])
def test_worked_example(kind: type) -> None:
    trials = build_all_pairs(SINGERS)
    labels = {"gender": GENDER.astype(kind), "song": SONG.astype(kind)}
    conditions = conditions_of(labels, trials.left, trials.right)
    assert list(conditions) == ["same gender", "cross gender", "same song", "cross song", "hard"]
    assert pairs_of(conditions["same gender"]) == {(0, 1), (0, 2), (1, 2), (3, 4)}
    assert pairs_of(conditions["cross gender"]) == {(0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4)}
    assert pairs_of(conditions["same song"]) == {(0, 2), (1, 3)}
    assert pairs_of(conditions["cross song"]) == {(0, 1), (0, 3), (1, 2), (2, 3)}
    assert pairs_of(conditions["hard"]) == {(0, 1), (1, 2)}


def test_a_trial_of_unknown_label_belongs_to_neither() -> None:
    trials = build_all_pairs(SINGERS)
    conditions = conditions_of({"song": SONG}, trials.left, trials.right)
    of_unknown = (trials.left == 4) | (trials.right == 4)
    assert not (conditions["same song"] | conditions["cross song"])[of_unknown].any()
    assert (conditions["same song"] ^ conditions["cross song"])[~of_unknown].all()
    assert "hard" not in conditions


def test_targets_share_gender() -> None:
    trials = build_all_pairs(SINGERS)
    conditions = conditions_of({"gender": GENDER}, trials.left, trials.right)
    assert conditions["same gender"][trials.is_target].all()
    assert not conditions["cross gender"][trials.is_target].any()


def test_labels_are_the_columns_that_say_what_is_sung(tmp_path: Path) -> None:
    (tmp_path / "corpus.csv").write_text(
        "utterance,singer,split,seconds,sample_rate,channels,gender,song\n"
        "val/01/a.wav,01,val,1.5,44100,1,female,NA\n"
        "val/02/b.wav,02,val,2.0,44100,1,,07\n"
    )
    labels = read_utterance_labels(["val/01/a.wav", "val/02/b.wav"], tmp_path)
    assert {name: values.tolist() for name, values in labels.items()} == {
        "gender": ["female", ""],
        "song": ["NA", "07"],
    }


def test_a_corpus_without_table_has_no_labels(tmp_path: Path) -> None:
    assert read_utterance_labels(["val/01/a.wav"], tmp_path) == {}


def test_refuses_what_is_no_table_of_utterances(tmp_path: Path) -> None:
    table = tmp_path / "corpus.csv"
    for content, sentence in (
        ("voice,gender\na,f\n", "has no column utterance"),
        ("utterance,gender\na,f\na,m\n", "lists a twice"),
        ("", "cannot be read as a table"),
    ):
        table.write_text(content)
        with pytest.raises(SingerVerifyError, match=sentence):
            read_utterance_labels([], tmp_path)


def test_how_far_apart_and_how_long() -> None:
    """A fifth (7 semitones) is neither close nor an octave apart; an utterance without pitch is in neither."""
    described = UtteranceMetadata({}, np.array([1.0, 3.0, 30.0, 30.0]), np.array([220.0, 330.0, 440.0, np.nan]))
    left, right = np.triu_indices(4, k=1)
    kept = {
        name: list(zip(left[is_kept], right[is_kept], strict=True))
        for name, is_kept in Conditions(described).iterate_masks(left, right)
    }
    assert kept == {
        "pitch within 2 semitones": [],
        "pitch an octave or more apart": [(0, 2)],
        "shorter than 2 s": [(0, 1), (0, 2), (0, 3)],
        "2 to 5 s": [(1, 2), (1, 3)],
        "5 to 10 s": [],
        "10 s or longer": [(2, 3)],
    }


def test_speech_against_song() -> None:
    style = np.array(["speech", "singing", "singing", ""], object)
    left, right = np.triu_indices(4, k=1)
    kept = dict(Conditions(UtteranceMetadata({"style": style})).iterate_masks(left, right))["speech against song"]
    assert list(zip(left[kept], right[kept], strict=True)) == [(0, 1), (0, 2)]
    only_singing = Conditions(UtteranceMetadata({"style": np.array(["singing"] * 4, object)}))
    assert "speech against song" not in dict(only_singing.iterate_masks(left, right))


def test_a_grid_of_trials_has_the_conditions_of_its_trials() -> None:
    described = UtteranceMetadata({"gender": GENDER, "song": SONG}, np.array([1.0, 3.0, 6.0, 20.0, 2.0]))
    left, right = np.meshgrid(np.arange(5), np.arange(5), indexing="ij")
    grid = dict(Conditions(described).iterate_masks(np.arange(5)[:, None], np.arange(5)[None]))
    for name, kept in Conditions(described).iterate_masks(left.ravel(), right.ravel()):
        np.testing.assert_array_equal(grid[name].ravel(), kept)


def test_hard_trials_are_those_of_another_song_where_all_are_of_one_gender() -> None:
    left, right = np.triu_indices(4, k=1)
    labels = {"gender": np.full(4, "male", object), "song": np.array(["a", "b", "a", "b"], object)}
    kept = dict(Conditions(UtteranceMetadata(labels)).iterate_masks(left, right))
    assert list(kept) == ["same song", "cross song", "hard"]  # a label that all share would repeat all trials
    np.testing.assert_array_equal(kept["hard"], kept["cross song"])


def test_joined_conditions_keep_the_trials_of_all_of_them() -> None:
    trials = build_all_pairs(SINGERS)
    labels = {"gender": GENDER, "song": SONG}
    selection = select_conditions("cross song + same gender,same song,cross song + cross gender", labels)
    assert (selection.labels, selection.needs_length, selection.needs_pitch) == ({"gender", "song"}, False, False)
    conditions = Conditions(UtteranceMetadata(labels), selection.names)
    kept = dict(conditions.iterate_masks(trials.left, trials.right))
    assert list(kept) == conditions.names == ["same song", "cross song + cross gender", "cross song + same gender"]
    every = conditions_of(labels, trials.left, trials.right)
    np.testing.assert_array_equal(kept["cross song + same gender"], every["hard"])
    assert pairs_of(kept["cross song + cross gender"]) == {(0, 3), (2, 3)}
    measured = select_conditions("cross song + 2 to 5 s,same gender + pitch within 2 semitones", labels)
    assert (measured.needs_length, measured.needs_pitch) == (True, True)


@pytest.mark.parametrize(
    ("selection", "name"), [("cross song + same voice", "same voice"), ("hard + gender", "gender"), ("hard + ", "")]
)
def test_refuses_to_join_what_is_no_condition(selection: str, name: str) -> None:
    with pytest.raises(SingerVerifyError, match=f"--conditions={name}: expected one of same gender, cross gender"):
        select_conditions(selection, {"gender": GENDER, "song": SONG})
