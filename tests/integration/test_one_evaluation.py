"""Validation, `evaluate` and a leaderboard tell the same of a model, and all of them show every metric there is."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import MakeCorpus
from support.cli import call
from support.train_process import train

from singer_verify.corpora.corpus import read_corpus
from singer_verify.data import windows
from singer_verify.evaluation.metrics.registry import METRICS, Metric
from singer_verify.inference import load_model, split
from singer_verify.store.extraction import load_or_compute_store


def values_shown(root: Path, folder: Path, *settings: str) -> list[dict[str, float]]:
    """The metrics of a small training: of its best validation, of `evaluate`, and of the leaderboard's csv."""
    run = train(root, *settings, "seed=1", f"hydra.run.dir={folder}/sweep/run", "trainer.max_steps=3")
    validated = json.loads((run / "metrics.json").read_text())["best"]
    evaluated = json.loads(call("evaluate", run, root, "--json", "--resamples", 20))["metrics"]
    call("leaderboard", folder / "sweep", "--out", folder / "out")
    (entry,) = csv.DictReader((folder / "out/leaderboard.csv").read_text().splitlines())
    return [
        {name: validated[f"val/{name}"] for name in METRICS},
        {name: evaluated[name]["value"] for name in METRICS},
        {name: float(entry[name]) for name in METRICS},
    ]


@pytest.mark.parametrize("normalise", ["none", "utterance_bins", "global_bins"])
@pytest.mark.parametrize("dtype", ["float16", pytest.param("float32", marks=pytest.mark.slow)])
def test_metrics_are_equal_to_the_last_digit(
    make_corpus: MakeCorpus, tmp_path: Path, dtype: str, normalise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "MAX_BLOCK_UTTERANCES", 5)  # so that `evaluate` goes through the split in parts
    root = make_corpus(val=4, utterances=4)
    for number, path in enumerate(sorted((root / "val").rglob("*.flac"))[::5]):  # of other lengths
        samples, rate = soundfile.read(path)
        soundfile.write(path, samples[: len(samples) * (3 + number) // 8], rate)
    settings = f"data.store_dtype={dtype}", f"features.normalise={normalise}"
    validated, evaluated, compared = values_shown(root, tmp_path, *settings)
    assert 0.0 < validated["eer"] < 1.0
    assert validated == evaluated == compared


def test_embeddings_do_not_depend_on_whether_frames_are_stored(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    """The cause of other differences: frames that were not rounded, and batches of other sizes."""
    root = make_corpus(val=3)
    run = train(root, f"hydra.run.dir={tmp_path}/run", "trainer.max_steps=2")
    model = load_model(run)
    corpus = read_corpus(root, splits=("val",), required=("val",))
    store = load_or_compute_store(corpus, "val", model.feature, tmp_path / "again", model.frames_dtype)
    stored = split.embed_store(model.encoder, store, model.normalisation, model.window_frames)
    indices, computed = split.embed_utterances(model, root, corpus.splits["val"].utterances, print)
    assert indices == list(range(len(stored)))
    np.testing.assert_array_equal(computed, stored)
    alone = np.stack([model.embed(root / path) for path in store.paths])
    np.testing.assert_allclose(alone, stored, atol=1e-3)


def test_a_metric_that_is_registered_is_shown_everywhere(
    make_corpus: MakeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    median = Metric("median target", lambda counts: np.median(counts.targets, axis=1), is_percentage=True)
    monkeypatch.setitem(METRICS, "median_target", median)
    shown = values_shown(make_corpus(val=3), tmp_path, "monitor=val/median_target")
    assert all(values["median_target"] >= 0.0 for values in shown)
    assert "median target" in call("evaluate", tmp_path / "sweep/run", tmp_path / "corpus", "--resamples", 20)
