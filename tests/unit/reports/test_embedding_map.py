"""The map of a corpus: places that are the same for the same seed, colours by label, and what is refused."""

import csv
import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from support.audio import MakeCorpus
from support.cli import call, refusal
from support.evaluations import build_evaluated_utterances

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation import embedding_map as maps
from singer_verify.evaluation.embedding_map import compute_embedding_map
from singer_verify.reports.embedding_map import choose_map_labels, plot_embedding_map


def test_the_same_seed_draws_the_same_map_and_singers_stay_together() -> None:
    utterances = build_evaluated_utterances(tuple("abcd"), utterances_per_singer=12)
    rows = utterances.embeddings + np.eye(8)[utterances.singer_index]
    places = compute_embedding_map(rows, "tsne", seed=3)
    np.testing.assert_array_equal(places, compute_embedding_map(rows, "tsne", seed=3))
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(len(places))
    nearest_singer = utterances.singer_index[distances.argmin(axis=1)]
    assert (nearest_singer == utterances.singer_index).mean() > 0.8  # by chance, a quarter


@pytest.mark.slow
def test_umap_draws_the_same_map_for_the_same_seed() -> None:
    pytest.importorskip("umap")
    rows = build_evaluated_utterances(tuple("abcd"), utterances_per_singer=12).embeddings
    np.testing.assert_array_equal(
        compute_embedding_map(rows, "umap", seed=3), compute_embedding_map(rows, "umap", seed=3)
    )
    assert compute_embedding_map(rows[:6], "umap").shape == (6, 2)


def test_too_few_utterances_and_a_missing_library_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = build_evaluated_utterances(("a", "b"), utterances_per_singer=3).embeddings
    assert np.isfinite(compute_embedding_map(rows)).all()
    with pytest.raises(SingerVerifyError, match="5 utterances: a map needs at least 6"):
        compute_embedding_map(rows[:5])
    monkeypatch.setattr(maps.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        SingerVerifyError, match=r"umap-learn is not installed; pip install -c constraints.txt -e '\.\[umap\]'"
    ):
        compute_embedding_map(rows, "umap")


def test_hundreds_of_singers_have_no_legend_and_few_have_one() -> None:
    few, many = (build_evaluated_utterances(tuple(f"singer{number}" for number in range(count))) for count in (3, 60))
    for utterances, title, has_legend in ((few, "singer", True), (many, "singer: 60 values, styles repeat", False)):
        labels = choose_map_labels(utterances)
        assert list(labels) == ["singer", "gender", "technique", "song"]
        figure = plot_embedding_map(np.random.default_rng(0).random((len(utterances.paths), 2)), labels, "map")
        axes = figure.axes[0]
        assert axes.get_title() == title
        assert (axes.get_legend() is not None) == has_legend
        assert sum(len(points.get_offsets()) for points in axes.collections) == len(utterances.paths)
    techniques = [text.get_text() for text in figure.axes[2].get_legend().get_texts()]
    assert techniques == ["unknown", "straight", "vibrato"]


def test_labels_that_tell_nothing_have_no_panel() -> None:
    utterances = build_evaluated_utterances(tuple("abc"), utterances_per_singer=40)
    utterances.labels["style"] = np.full(120, "singing", object)
    utterances.labels["take"] = np.array([str(number) for number in range(120)], object)
    assert list(choose_map_labels(utterances)) == ["singer", "gender", "technique", "song"]


def test_map_from_the_command_line(model: Path, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root, out = make_corpus(val=2, utterances=4), tmp_path / "maps" / "map.png"
    rows = [f"{path.relative_to(root).as_posix()},{path.stem}" for path in sorted((root / "val").rglob("*.flac"))]
    (root / "corpus.csv").write_text("\n".join(["utterance,song", *rows[1:]]))
    printed = call("map", model, root, "--out", out, "--json")
    records = json.loads(printed[printed.index("[\n") :])
    assert out.read_bytes().startswith(b"\x89PNG")
    assert {path.suffix for path in out.parent.iterdir()} == {".png", ".svg", ".csv"}
    table = list(csv.DictReader(StringIO(out.with_suffix(".csv").read_text())))
    assert [row["singer"] for row in table] == ["val_singer0"] * 4 + ["val_singer1"] * 4
    assert [row["song"] for row in table[:2]] == ["", "song1"]
    assert [(float(row["x"]), float(row["y"])) for row in table] == [(record["x"], record["y"]) for record in records]
    assert "8 utterances by song, singer" in call("map", model, root, "--out", out, "--by", "song, singer")


def test_refusals(model: Path, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root, out = make_corpus(val=2, utterances=2), tmp_path / "map.png"
    arguments = ("map", model, root, "--out")
    assert "expected a file name that ends in .png" in refusal(*arguments, tmp_path / "map.jpg")
    assert "--method=pca: expected one of tsne, umap" in refusal(*arguments, out, "--method", "pca")
    assert "--seed=-1: expected an integer" in refusal(*arguments, out, "--seed", "-1")
    assert "--by tone: unknown label; the corpus has singer." in refusal(*arguments, out, "--by", "tone")
    assert "--by ,: 0 labels" in refusal(*arguments, out, "--by", ",")
    assert "4 utterances: a map needs at least 6" in refusal(*arguments, out)
    assert not out.exists()
