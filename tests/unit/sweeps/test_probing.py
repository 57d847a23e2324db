"""Probes of a sweep: cells compared over seeds, and within folds, whose models have no dimension in common."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ortho_group
from support.cli import call, refusal
from support.sweep_runs import write_run

from singer_verify.evaluation.probe_tasks import plan_label_task, plan_singer_task
from singer_verify.evaluation.probes import divide_task, probe_label
from singer_verify.inference import probing
from singer_verify.inference.probing import describe_task

NUM_FOLDS, SINGERS_PER_FOLD, SONGS, NUM_DIMS = 3, 4, ("a", "b", "c"), 8
TAKES = 2
FOLDS = np.repeat(np.arange(NUM_FOLDS), SINGERS_PER_FOLD * len(SONGS) * TAKES)
SINGERS = np.repeat(np.arange(NUM_FOLDS * SINGERS_PER_FOLD), len(SONGS) * TAKES)
SUNG = np.tile(np.repeat(np.array(SONGS, object), TAKES), NUM_FOLDS * SINGERS_PER_FOLD)
GENDERS = np.where(SINGERS % 2 == 0, "female", "male").astype(object)


def embed(seed: int, song_scale: float) -> np.ndarray:
    """Singers and songs lie along directions that are others in each fold."""
    generator = np.random.default_rng(seed)
    rows = 0.3 * generator.standard_normal((len(FOLDS), NUM_DIMS))
    rows[:, 0] += 2.0 * (GENDERS == "male")
    rows[np.arange(len(rows)), 1 + SINGERS % SINGERS_PER_FOLD] += 2.0
    rows[:, 6] += song_scale * np.searchsorted(SONGS, SUNG.astype(str))
    rows[:, 7] += song_scale * (SUNG == "b")
    for fold in range(NUM_FOLDS):
        rotation = ortho_group.rvs(NUM_DIMS, random_state=seed + fold)
        rows[fold == FOLDS] = rows[fold == FOLDS] @ rotation
    return rows


@pytest.fixture(autouse=True)
def one_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "probe_label", partial(probing.probe_label, penalties=(1.0,)))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Exported results of two recipes over three folds, the better one with two seeds."""
    folder = tmp_path / "results"
    paths = np.array([f"choir/val/s{singer:02}/{row}.flac" for row, singer in enumerate(SINGERS)])
    singers = np.array([f"s{singer:02}" for singer in SINGERS])
    for bins, seed, song_scale in ((40, 1, 0.0), (80, 1, 4.0), (80, 2, 4.0)):
        rows = embed(10 * bins + seed, song_scale)
        for fold in range(NUM_FOLDS):
            settings = f"features=mel{bins}", f"data.fold={fold}", f"seed={seed}"
            run = write_run(folder, *settings, corpus=Path("choir"), folds=NUM_FOLDS, fold=fold)
            kept = fold == FOLDS
            arrays = {"embeddings": rows[kept].astype(np.float16), "paths": paths[kept], "singers": singers[kept]}
            np.savez(run / "exported-folds.npz", num_parameters=1, num_bins=bins, **arrays)
    table = {"utterance": paths, "singer": singers, "gender": GENDERS, "song": SUNG, "place": "hall"}
    pd.DataFrame(table).to_csv(folder / "utterances-folds.csv", index=False)
    return folder


def test_cells_are_compared_with_the_baseline_and_over_seeds(results: Path) -> None:
    quick = "--resamples", 40, "--folds", 2
    result = json.loads(call("probe", results, "--json", "--label", "singer,song", *quick))
    assert (result["models"], result["num_trainings"]) == (["features=mel40", "features=mel80"], [1, 2])
    assert result["place"] == "results, all folds"
    probes = {(probe["label"], probe["model"][-5:]): probe for probe in result["probes"]}
    assert [*probes] == [(label, cell) for label in ("singer", "song") for cell in ("mel40", "mel80")]
    song, baseline = probes["song", "mel80"], probes["song", "mel40"]
    assert song["score"] > 0.95
    assert baseline["score"] < 0.65
    assert song["difference"] == pytest.approx(song["score"] - baseline["score"])
    assert song["difference_low"] > 0.0
    singer = probes["singer", "mel40"]
    assert (singer["chance"], singer["disjoint"], singer["num_singers"]) == (1 / SINGERS_PER_FOLD, "song", 12)
    assert singer["score"] > 0.9
    assert any("singers of the same fold" in remark for remark in result["remarks"])
    one = json.loads(call("probe", results, "--json", "--label", "song", "--only", "features=mel80,seed=2", *quick))
    assert (one["num_trainings"], one["num_resamples"]) == ([1], 40)
    assert "--only features=mel40: has no effect without a sweep" in refusal(
        "probe", results, results, "--only", "features=mel40"
    )
    assert any("means over seeds (features=mel40 1, features=mel80 2)" in remark for remark in result["remarks"])


def test_what_a_sweep_cannot_give_is_refused(results: Path, tmp_path: Path) -> None:
    assert "has the labels gender, song, place; expected one of them" in refusal("probe", results, "--label", "tempo")
    assert "there is no sound to measure it in" in refusal("probe", results, "--label", "pitch")
    assert "fits 0 of 2 cells" in refusal("probe", results, "--baseline", "features=cqt")
    assert "has no effect without a sweep" in refusal("probe", results, tmp_path, "--baseline", "features=mel40")
    assert "give the models before the corpus" in refusal("probe", next(results.glob("features=mel40*")))
    assert "no such" in refusal("probe", tmp_path / "nowhere")


def test_probes_never_mix_the_models_of_two_folds() -> None:
    rows = embed(0, 4.0)
    names = [f"s{number}" for number in range(NUM_FOLDS * SINGERS_PER_FOLD)]
    for task in (
        plan_label_task("song", SUNG, SINGERS, spaces=FOLDS),
        plan_singer_task(names, SINGERS, "song", SUNG, FOLDS),
    ):
        for train, test in divide_task(task, 2):
            assert len({*task.spaces[train].tolist(), *task.spaces[test].tolist()}) == 1
            assert not set(task.units[train]) & set(task.units[test])
    within = probe_label([[rows]], plan_label_task("song", SUNG, SINGERS, spaces=FOLDS), 2, 20, penalties=(1.0,))
    across = probe_label([[rows]], plan_label_task("song", SUNG, SINGERS), 3, 20, penalties=(1.0,))
    assert within.scores[0].score.value > 0.95
    assert across.scores[0].score.value < 0.8


def test_a_value_is_left_out_of_the_folds_where_one_singer_has_it() -> None:
    songs = SUNG.copy()
    songs[(SINGERS >= 1) & (SUNG == "c")] = ""  # sung by the first singer of the first fold alone
    songs[(FOLDS == 1) & (SINGERS > 4)] = ""  # one singer is left in the second fold
    task = plan_label_task("song", songs, SINGERS, spaces=FOLDS)
    assert (task.classes, task.left_out) == (("a", "b"), ("c",))
    (unknown, alone) = describe_task(task, len(FOLDS))
    assert unknown == f"song: {(songs == '').sum()} of 72 utterances without a value left out."
    assert alone.startswith("song: 6 of 72 utterances left out, because fewer than two singers of their fold")
    assert set(FOLDS[task.rows].tolist()) == {0, 2}
    assert task.chance == pytest.approx(0.5)
    numbers = plan_label_task("tempo", np.where(SINGERS == 0, np.nan, np.arange(len(FOLDS)) * 1.0), SINGERS)
    assert numbers.num_unknown == len(SONGS) * TAKES
    folded = plan_label_task("tempo", np.where(FOLDS == 1, np.nan, np.arange(len(FOLDS)) * 1.0), SINGERS, spaces=FOLDS)
    assert [len(rows) for rows in folded.list_space_rows()] == [24, 24]
