"""`evaluate --degrade`: the same trials after degradations, with a small model on small recordings."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.audio import SAMPLE_RATE, MakeCorpus, sing
from support.cli import call, refusal
from support.untrained_model import make_run

from singer_verify.data.degradations import Degradation, parse_degradations
from singer_verify.evaluation.scoring.scoring import COSINE
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.inference import load_model, split
from singer_verify.inference.evaluation import embed_split, evaluate_utterances, plan_evaluation
from singer_verify.inference.robustness import evaluate_degradations

QUICK = ("--conditions", "none", "--resamples", 20)


@pytest.fixture(autouse=True)
def use_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute frames in this process: to start others takes longer than these few recordings."""
    monkeypatch.setattr(split, "count_available_cores", lambda: 0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def evaluate_degraded(model: Path, root: Path, wanted: str, *options: object) -> dict[str, Any]:
    return json.loads(call("evaluate", model, root, "--degrade", wanted, "--json", *QUICK, *options))


def get_eers(record: dict[str, Any]) -> dict[str, float]:
    return {
        f"{entry['degradation']}={entry['strength']:g}": entry["metrics"]["eer"]["value"]
        for entry in record["robustness"]["degradations"]
    }


def test_what_changes_no_recording_changes_no_metric(model: Path, make_corpus: MakeCorpus) -> None:
    root = make_corpus(val=3)
    plain = json.loads(call("evaluate", model, root, "--json", *QUICK))
    record = evaluate_degraded(model, root, "band_limit=8000,noise=15")
    assert {name: value for name, value in record.items() if name != "robustness"} == plain
    robustness = record["robustness"]
    unchanged, noisy = robustness["degradations"]
    assert unchanged["metrics"] == unchanged["clean_metrics"] == noisy["clean_metrics"] == plain["metrics"]
    assert unchanged["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert noisy["metrics"]["auc"] != plain["metrics"]["auc"]
    assert robustness["clean_eer"] == plain["metrics"]["eer"]
    assert (robustness["sides"], robustness["accompaniment"]) == ("test", None)


@pytest.mark.slow
def test_level_tells_no_singer_where_the_recipe_sets_it(tmp_path: Path, make_corpus: MakeCorpus) -> None:
    model = make_run(tmp_path / "run", activity_db=35.0, level_db=-40.0, pause_s=0.0)
    for entry in evaluate_degraded(model, make_corpus(val=3), "gain")["robustness"]["degradations"]:
        for name in ("eer", "auc", "min_dcf_0.5", "top_1"):
            if name in entry["metrics"]:
                assert entry["metrics"][name]["value"] == pytest.approx(entry["clean_metrics"][name]["value"], abs=1e-3)


@pytest.mark.slow
def test_both_sides_lists_and_the_table(model: Path, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus(val=2)
    files = sorted((root / "val").rglob("*.flac"))
    pairs = [(one, other) for place, one in enumerate(files) for other in files[place + 1 :]]
    (tmp_path / "list.txt").write_text(
        "".join(
            f"{int(one.parent == other.parent)} {one.relative_to(root)} {other.relative_to(root)}\n"
            for one, other in pairs
        )
    )
    every = get_eers(evaluate_degraded(model, root, "noise=5"))
    listed = get_eers(evaluate_degraded(model, root, "noise=5", "--trials", tmp_path / "list.txt"))
    assert listed == pytest.approx(every, abs=1e-9)
    printed = call("evaluate", model, root, "--degrade", "gain=3,tempo=1.1", "--degrade-sides", "both", *QUICK)
    table = printed[printed.index("after degradation") :]
    assert "Both recordings of every trial are degraded." in table
    assert max(len(line) for line in table.splitlines() if "report with figures" not in line) <= 80
    assert table.index("clean") < table.index("gain") < table.index("1.1 times") < table.index("mean")


@pytest.mark.slow
def test_a_degraded_copy_of_the_corpus_gives_the_same_embeddings(
    model: Path, make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    """Both sides degraded are a corpus whose files are degraded, whatever else is in it."""
    root = make_corpus()
    (degradation,) = parse_degradations("noise=5")
    for file in sorted((root / "val").rglob("*.flac")):
        samples, _ = soundfile.read(file, dtype="float32")
        copy = tmp_path / "degraded" / file.relative_to(root).with_suffix(".wav")
        copy.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(copy, degradation(samples, SAMPLE_RATE), SAMPLE_RATE, subtype="FLOAT")
    expected = json.loads(call("evaluate", model, tmp_path / "degraded", "--json", *QUICK))["metrics"]
    (entry,) = evaluate_degraded(model, root, "noise=5", "--degrade-sides", "both")["robustness"]["degradations"]
    for name, estimate in expected.items():
        assert entry["metrics"][name]["value"] == pytest.approx(estimate["value"], abs=1e-6), name


def test_recordings_that_become_unusable_are_left_out_of_both(
    model: Path, make_corpus: MakeCorpus, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_corpus(val=3)
    soft = root / "val/val_singer0/song0.flac"
    soundfile.write(soft, 0.01 * sing(77), SAMPLE_RATE, subtype="PCM_24")
    for path in (root / "val/val_singer2").iterdir():
        soundfile.write(path, 0.01 * sing(hash(path.name) % 1000), SAMPLE_RATE, subtype="PCM_24")
    with caplog.at_level(logging.WARNING):
        record = evaluate_degraded(model, root, "gain=-40")["robustness"]
    (entry,) = record["degradations"]
    assert sorted(entry["unusable"]) == [
        soft.relative_to(root).as_posix(),
        *(f"val/val_singer2/song{n}.flac" for n in range(3)),
    ]
    assert "is silent (peak below -80 dB)" in entry["unusable"]["val/val_singer0/song0.flac"]
    assert entry["num_singers"] == 2
    assert "gain -40 dB (1 of 1): 4 of 9 recordings cannot be used any more and are left out" in caplog.text
    assert "song0.flac" in caplog.text
    for path in [soft, *sorted((root / "val/val_singer2").iterdir())]:
        path.unlink()
    (root / "val/val_singer2").rmdir()
    fewer = json.loads(call("evaluate", model, root, "--json", *QUICK))["metrics"]
    assert entry["clean_metrics"]["eer"] == fewer["eer"]
    assert record["clean_eer"] != fewer["eer"]


@pytest.mark.slow
def test_a_degradation_that_leaves_nothing_is_said(
    model: Path, make_corpus: MakeCorpus, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_corpus()
    for path in (root / "val").rglob("*.flac"):
        samples, _ = soundfile.read(path, dtype="float32")
        soundfile.write(path, 0.01 * samples, SAMPLE_RATE, subtype="PCM_24")
    with caplog.at_level(logging.WARNING):
        printed = call("evaluate", model, root, "--degrade", "gain=-45,noise=20", *QUICK)
    assert "6 of 6 recordings cannot be used any more" in caplog.text
    assert "gain -45 dB: not evaluated:" in " ".join(printed.split())


def test_what_cannot_be_degraded_is_refused_before_the_work(
    model: Path, make_corpus: MakeCorpus, make_ready_corpus: MakeCorpus, tmp_path: Path
) -> None:
    root = make_corpus()
    evaluate = ("evaluate", model, root)
    assert "--degrade=echo: expected one of noise, reverb, mp3" in refusal(*evaluate, "--degrade", "echo")
    assert "mp3=1: expected bit rate from 8 to 320 kbit/s" in refusal(*evaluate, "--degrade", "mp3=1")
    assert "--degrade-sides=left: expected one of test, both" in refusal(
        *evaluate, "--degrade", "noise", "--degrade-sides", "left"
    )
    assert refusal(*evaluate, "--degrade-sides", "both").startswith("--degrade-sides both: nothing is degraded")
    assert "nothing is degraded; add --degrade" in refusal(*evaluate, "--accompaniment", tmp_path)
    (tmp_path / "empty").mkdir()
    folder = ("--degrade", "accompaniment", "--accompaniment", tmp_path / "empty")
    assert "no audio file in it" in refusal(*evaluate, *folder)
    ready = make_ready_corpus()
    (tmp_path / "list.txt").write_text("1 val_singer0/song0 val_singer0/song1\n0 val_singer0/song0 val_singer1/song1\n")
    for trials in ((), ("--trials", tmp_path / "list.txt")):
        said = refusal("evaluate", model, ready, "--degrade", "noise", *trials)
        assert "song0.npy holds precomputed features; a degradation changes audio" in said
    params = {"num_feats": 8, "sr": 16000, "hop_size": 160}
    precomputed = make_run(tmp_path / "other", PrecomputedFeature(params))
    said = refusal("evaluate", precomputed, root, "--degrade", "noise")
    assert said.startswith("--degrade: the model was trained on precomputed features")


@pytest.mark.slow
def test_degradations_do_not_depend_on_the_other_recordings(model: Path, make_corpus: MakeCorpus) -> None:
    root = make_corpus()
    loaded = load_model(model)
    plan = plan_evaluation(root, "val", None, "none")
    utterances = embed_split(loaded, root, "val")
    result = evaluate_utterances(utterances, COSINE, plan, num_resamples=20)
    settings = (loaded, utterances, result, COSINE, plan)
    alone = evaluate_degradations(*settings, [Degradation("noise", 3.0, seed=4)], num_resamples=20)
    among = evaluate_degradations(
        *settings, [Degradation("mp3", 32.0), Degradation("noise", 3.0, seed=4)], num_resamples=20
    )
    assert among.entries[1].metrics == alone.entries[0].metrics
    assert np.array_equal(among.entries[1].resampled_eers, alone.entries[0].resampled_eers)
