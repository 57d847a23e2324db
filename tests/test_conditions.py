"""Which trials a condition keeps, and the labels that decide it."""

from pathlib import Path

import numpy as np
import pytest

from singer_verify.corpora.labels import read_labels
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.breakdown import verify_conditions
from singer_verify.evaluation.conditions import conditions_of
from singer_verify.evaluation.metrics import equal_error_rate
from singer_verify.evaluation.trials import all_pairs

# Two women and a man; the last utterance's song is unknown.
SINGERS = np.array([0, 0, 1, 2, 2])
GENDER = np.array(["female", "female", "female", "male", "male"])
SONG = np.array(["a", "b", "a", "b", ""])


def pairs_of(kept: np.ndarray) -> set[tuple[int, int]]:
    trials = all_pairs(SINGERS)
    return set(zip(trials.left[kept].tolist(), trials.right[kept].tolist(), strict=True))


@pytest.mark.parametrize("kind", [object, str])
def test_worked_example(kind: type) -> None:
    trials = all_pairs(SINGERS)
    labels = {"gender": GENDER.astype(kind), "song": SONG.astype(kind)}
    conditions = conditions_of(labels, trials.left, trials.right)
    assert list(conditions) == ["same gender", "cross gender", "same song", "cross song", "hard"]
    assert pairs_of(conditions["same gender"]) == {(0, 1), (0, 2), (1, 2), (3, 4)}
    assert pairs_of(conditions["cross gender"]) == {(0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4)}
    assert pairs_of(conditions["same song"]) == {(0, 2), (1, 3)}
    assert pairs_of(conditions["cross song"]) == {(0, 1), (0, 3), (1, 2), (2, 3)}
    assert pairs_of(conditions["hard"]) == {(0, 1), (1, 2)}


def test_a_trial_of_unknown_label_belongs_to_neither() -> None:
    trials = all_pairs(SINGERS)
    conditions = conditions_of({"song": SONG}, trials.left, trials.right)
    of_unknown = (trials.left == 4) | (trials.right == 4)
    assert not (conditions["same song"] | conditions["cross song"])[of_unknown].any()
    assert (conditions["same song"] ^ conditions["cross song"])[~of_unknown].all()
    assert "hard" not in conditions


def test_targets_share_gender() -> None:
    trials = all_pairs(SINGERS)
    conditions = conditions_of({"gender": GENDER}, trials.left, trials.right)
    assert conditions["same gender"][trials.is_target].all()
    assert not conditions["cross gender"][trials.is_target].any()


def test_labels_are_the_columns_that_say_what_is_sung(tmp_path: Path) -> None:
    (tmp_path / "corpus.csv").write_text(
        "utterance,singer,split,seconds,sample_rate,channels,gender,song\n"
        "val/01/a.wav,01,val,1.5,44100,1,female,NA\n"
        "val/02/b.wav,02,val,2.0,44100,1,,07\n"
    )
    labels = read_labels(tmp_path)
    assert labels.index.tolist() == ["val/01/a.wav", "val/02/b.wav"]
    assert labels.to_dict("list") == {"gender": ["female", ""], "song": ["NA", "07"]}


def test_a_corpus_without_table_has_no_labels(tmp_path: Path) -> None:
    labels = read_labels(tmp_path)
    assert labels.empty
    assert labels.reindex(["val/01/a.wav"]).columns.empty


def test_refuses_what_is_no_table_of_utterances(tmp_path: Path) -> None:
    table = tmp_path / "corpus.csv"
    for content, sentence in (
        ("path,gender\na,f\n", "has no column utterance"),
        ("utterance,gender\na,f\na,m\n", "names a twice"),
        ("", "cannot be read as a table"),
    ):
        table.write_text(content)
        with pytest.raises(SingerVerifyError, match=sentence):
            read_labels(tmp_path)


def test_rates_by_condition_are_those_of_its_trials_alone() -> None:
    generator = np.random.default_rng(0)
    embeddings = generator.standard_normal((24, 4))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    singers = np.repeat(np.arange(4), 6)
    song = np.tile(np.array(["a", "b", "c"], object), 8)
    gender = np.where(singers < 2, "female", "male").astype(object)
    figures = {
        each.condition: each for each in verify_conditions(embeddings, singers, {"song": song, "gender": gender})
    }
    pairs = [
        (embeddings[i] @ embeddings[j], singers[i] == singers[j])
        for i in range(24)
        for j in range(i + 1, 24)
        if song[i] != song[j] and gender[i] == gender[j]
    ]
    scores, is_target = (np.array(column) for column in zip(*pairs, strict=True))
    hard = figures["hard"]
    assert hard.eer == pytest.approx(equal_error_rate(scores, is_target)[0], abs=1e-12)
    assert (hard.num_trials, hard.num_targets) == (len(pairs), int(is_target.sum()))
    assert figures["cross gender"].eer is None
    assert figures["cross gender"].num_targets == 0


def test_a_condition_needs_five_trials_of_each_kind() -> None:
    embeddings = np.eye(6)
    singers = np.array([0, 0, 1, 1, 2, 2])
    few = verify_conditions(embeddings, singers, {"song": np.array(["a", "a", "a", "a", "", ""], object)})
    assert [(each.condition, each.eer, each.num_trials, each.num_targets) for each in few] == [
        ("same song", None, 6, 2)
    ]
    assert verify_conditions(embeddings, singers, {}) == []
