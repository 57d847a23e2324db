"""Every table that names singers or files is read back equal, whatever the names are."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import sing
from support.evaluations import build_evaluated_utterances, build_evaluation_result

from singer_verify.cli.trials import _read_utterances
from singer_verify.corpora.corpus import read_corpus
from singer_verify.evaluation.trials.formats import read_trials, write_trials
from singer_verify.evaluation.trials.trial_list import add_labels, build_all_pairs, build_trial_list
from singer_verify.features.energy import Energy
from singer_verify.inference.singer_table import build_singer_table, format_singer_table_csv
from singer_verify.reports.embedding_map import CorpusMap, write_corpus_map
from singer_verify.reports.evaluation.files import format_singers_csv, format_worst_trials_csv
from singer_verify.store.extraction import load_or_compute_store

VALUE_NAMES = ("nan", "NA", "None", "null", "true", "1e3", "001", "-1", "inf")
LETTERS = list("a\"',;| #=-é遇[]{}$%&*()~`!?+^@:<>\\")


def draw_names(seed: int) -> tuple[str, ...]:
    """Names of odd characters, also at either end, and names that look like values."""
    generator = np.random.default_rng(seed)
    drawn = {"".join(generator.choice(LETTERS, generator.integers(1, 6))) for _ in range(12)} - {" "}
    return tuple(sorted(name for name in {*drawn, *VALUE_NAMES} if not name.startswith(".")))


def read_rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


@pytest.mark.parametrize("seed", range(5))
def test_tables_of_singers_and_trials_are_read_back_equal(seed: int, tmp_path: Path) -> None:
    singers = draw_names(seed)
    utterances = build_evaluated_utterances(singers, 2)
    result = build_evaluation_result(utterances)
    assert {row["singer"] for row in read_rows(format_singers_csv(result, utterances))} == set(singers)
    worst = read_rows(format_worst_trials_csv(result, utterances))
    for row in worst:
        for side in ("left", "right"):
            assert row[side].split("/", 1)[1].rpartition("/")[0] == row[f"{side}_singer"] in singers
    table = build_singer_table(
        (singer, "val", row) for singer, row in zip(singers, utterances.embeddings, strict=False)
    )
    assert tuple(row["singer"] for row in read_rows(format_singer_table_csv(table))) == table.singers
    places = np.zeros((len(utterances.paths), 2))
    drawn = CorpusMap(utterances.paths, places, {"singer": np.array(singers, object)[utterances.singer_index]}, "")
    write_corpus_map(drawn, tmp_path / "map.png")
    rows = read_rows((tmp_path / "map.csv").read_bytes())
    assert [row["utterance"] for row in rows] == utterances.paths.tolist()
    assert [row["singer"] for row in rows] == drawn.labels["singer"].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_a_corpus_its_store_and_its_list_of_trials_say_the_same_names(seed: int, tmp_path: Path) -> None:
    singers = draw_names(seed)
    for singer in singers:
        for take in (1, 2):
            path = tmp_path / "corpus/val" / singer / f"{singer}{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sing(take, 0.1), 16_000)
    corpus = read_corpus(tmp_path / "corpus", splits=("val",), required=("val",))
    expected = [(utterance.path, utterance.singer) for utterance in corpus.splits["val"].utterances]
    assert {singer for _, singer in expected} == set(singers)
    for _ in range(2):  # computed, and read back
        store = load_or_compute_store(corpus, "val", Energy(), tmp_path / "store")
        names = np.array(store.singers, object)[store.singer_index]
        assert list(zip(store.paths.tolist(), names.tolist(), strict=True)) == expected
    paths = np.array([path for path, _ in expected], object)
    numbers = np.unique([singer for _, singer in expected], return_inverse=True)[1]
    made = add_labels(build_trial_list(build_all_pairs(numbers), paths), _read_utterances(tmp_path / "corpus", "val"))
    write_trials(tmp_path / "list.csv", made, "csv")
    again = read_trials(tmp_path / "list.csv")
    assert (again.left.tolist(), again.right.tolist()) == (made.left.tolist(), made.right.tolist())
    assert again.labels is not None
    assert made.labels is not None
    assert again.labels.to_dict("list") == made.labels.to_dict("list")
