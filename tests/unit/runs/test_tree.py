"""The status of a run: what its record, its process and its figures say."""

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from singer_verify.errors import SingerVerifyError
from singer_verify.runs.folder import identify_process, is_process_alive
from singer_verify.runs.tree import format_features_name, read_run_tree


def write_run_record(run: Path, process: dict[str, Any], stopped: str | None = None) -> None:
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"process": process}))
    features = "{_target_: singer_verify.features.mel.MelSpectrogram, num_bins: 80}"
    (run / "config.yaml").write_text(f"features: {features}\nloss: {{terms: {{ge2e: {{}}}}}}\n")
    if stopped is not None:
        metrics = {"steps": 7, "best": {"step": 5, "val/eer": 0.25}, "stopped": stopped}
        (run / "metrics.json").write_text(json.dumps(metrics))


def test_the_status_is_what_the_process_and_the_figures_say(tmp_path: Path) -> None:
    alive = identify_process()
    gone = alive | {"began": alive["began"] - 3600.0}  # the number was given to this process after that one ended
    write_run_record(tmp_path / "a", alive)
    write_run_record(tmp_path / "b", gone)
    write_run_record(tmp_path / "c", alive | {"host": "elsewhere"})
    write_run_record(tmp_path / "d", gone, "step limit")
    write_run_record(tmp_path / "e", gone, "no further improvement")
    write_run_record(tmp_path / "f", gone, "interrupted")
    write_run_record(tmp_path / "g", alive, "interrupted")
    os.utime(tmp_path / "g/metrics.json", (0, 0))  # before this process: the run is being continued
    write_run_record(tmp_path / "i", alive, "step limit")  # one of several trainings of a process
    (tmp_path / "h").mkdir()
    (tmp_path / "h/run.json").write_text("{")
    summaries = read_run_tree(tmp_path)
    assert [(run.path, run.status) for run in summaries] == [
        ("a", "running"),
        ("b", "crashed"),
        ("c", "unknown"),
        ("d", "finished"),
        ("e", "stopped early"),
        ("f", "interrupted"),
        ("g", "running"),
        ("h", "unreadable"),
        ("i", "finished"),
    ]
    last = summaries[3]
    assert (last.features, last.loss, last.steps, last.best_eer) == ("mel80", "ge2e", 7, 0.25)


def test_a_process_that_ended_is_not_alive() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        record = {"id": process.pid, "host": socket.gethostname(), "began": psutil.Process(process.pid).create_time()}
        assert is_process_alive(record)
        process.kill()
    assert is_process_alive(record) is False


def test_what_a_run_is_and_why_it_ended(tmp_path: Path) -> None:
    gone = identify_process() | {"began": 0.0}
    for name in ("killed", "wrong", "silent"):
        write_run_record(tmp_path / name, gone)
    started = {"process": gone, "started": "2026-11-28T00:17:32+00:00"}
    (tmp_path / "killed/run.json").write_text(json.dumps(started))
    with (tmp_path / "killed/config.yaml").open("a") as config:
        config.write(
            "data: {root: [/corpora/jvs, damp]}\nencoder: {_target_: singer_verify.encoders.lstm.LSTMEncoder}\n"
        )
    (tmp_path / "killed/train.log").write_text("1 INFO one\n2 INFO step 20: EER 9.00 %\n")
    (tmp_path / "wrong/failure.json").write_text(json.dumps({"reason": "step 3: the loss is NaN."}))
    killed, silent, wrong = read_run_tree(tmp_path)
    assert (killed.status, killed.corpus, killed.encoder, killed.started) == (
        *("crashed", "jvs+damp", "lstm"),
        started["started"],
    )
    assert killed.reason is not None
    assert killed.reason.endswith("last message: 2 INFO step 20: EER 9.00 %")
    assert (silent.reason, wrong.status) == ("it was ended from outside", "failed")
    assert wrong.reason == "step 3: the loss is NaN."


def test_jobs_of_a_sweep_name_it(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/sweep.json").write_text("{}")
    write_run_record(tmp_path / "sweep/a", identify_process())
    write_run_record(tmp_path / "b", identify_process())
    assert [(run.path, run.sweep) for run in read_run_tree(tmp_path)] == [("b", None), ("sweep/a", "sweep")]
    assert [run.sweep for run in read_run_tree(tmp_path / "sweep")] == [None]  # all that is asked for


def test_runs_of_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SingerVerifyError, match="no such folder; give the folder that holds the runs"):
        read_run_tree(tmp_path / "none")


def test_recipes_made_of_recipes_are_named_by_them() -> None:
    mel = {"_target_": "singer_verify.features.mel.MelSpectrogram", "num_bins": 40}
    stack = {"_target_": "singer_verify.features.stack.FeatureStack", "stack": [mel, "pitch"]}
    deltas = {"_target_": "singer_verify.features.deltas.Deltas", "base": mel}
    assert format_features_name({"_target_": "my_package.features.OctaveBands", "num_bins": 24}) == "OctaveBands24"
    assert [format_features_name(recipe) for recipe in (mel, stack, deltas)] == ["mel40", "mel40+pitch", "mel40+deltas"]
