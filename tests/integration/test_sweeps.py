"""Sweeps: their files, and that a command called again finishes what is missing and nothing else."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from support.tiny_run import ROOT, At, Killed, differences, kill, last_of, make_corpus, tiny
from support.train_process import train_module
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.cli.console import format_user_error
from singer_verify.data.sampler import SingerSampler
from singer_verify.data.windows import resolve_crop_lengths
from singer_verify.errors import SingerVerifyError
from singer_verify.runs.folder import BEST_CHECKPOINT, identify_process
from singer_verify.runs.model_metadata import METADATA_KEY, METADATA_VERSION
from singer_verify.runs.settings import SETTINGS_KEY
from singer_verify.runs.tree import read_failure_reason, read_run_status
from singer_verify.sweeps.callback import report_failed_jobs
from singer_verify.sweeps.cells import read_sweep_cells
from singer_verify.sweeps.jobs import (
    JobError,
    SweepPlan,
    build_job_names,
    run_job,
    write_sweep_plan,
)
from singer_verify.sweeps.progress import SweepStatus, format_sweep_status, read_sweep_status
from singer_verify.training.composition import MAX_FOLDER_NAME_BYTES, build_job_folder_name
from singer_verify.training.overrides import quote_path_overrides
from singer_verify.training.run import train

CONF = ROOT / "conf"
SEARCHES = {"rates"}  # which draw values instead of going through a grid
NUM_JOBS = {"features": 11 * 2 * 3, "full": 11 * 6 * 3 * 3, "losses": 11 * 3, "seeds": 3, "encoders": 6, "folds": 5}
NUM_JOBS |= {"data_size": 4 * 3 * 5 * 2}
SEEDS = {"folds": ["1"], "data_size": ["1", "2"]}  # of the others, three


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus") / "tiny")


def call(monkeypatch, corpus, *overrides, callbacks=(), change=train):
    """`python train.py -m ...` in this process; returns the folder of the sweep `runs/s`."""
    script = train_module()
    typed = [override for override in tiny(corpus) if "progress_bar" not in override]
    with monkeypatch.context() as patch:
        patch.setattr("singer_verify.training.run.train", partial(change, callbacks=callbacks))
        arguments = ["-m", "--config-path", str(CONF), *typed, "name=s", *overrides]
        patch.setattr(sys, "argv", ["train.py", *quote_path_overrides(arguments)])
        patch.setenv("HYDRA_FULL_ERROR", "1")
        try:
            with report_failed_jobs():
                script.main()
        finally:
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
    return Path("runs/s").absolute()


def jobs_of(sweep):
    return sorted(folder.name for folder in sweep.iterdir() if folder.is_dir())


def files_with_times(folder):
    """Without Hydra's record of its last call."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if ".hydra" not in path.parts}


def unlike(left, right):
    differing = differences(last_of(left)["state_dict"], last_of(right)["state_dict"])
    best = [torch.load(run / "checkpoints/best.ckpt", weights_only=True)["state_dict"] for run in (left, right)]
    return differing + differences(*best)


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "sweep").glob("*.yaml")))
def test_a_sweep_is_made_of_what_there_is_and_says_how_much_it_is(name):
    text = (CONF / "sweep" / f"{name}.yaml").read_text()
    for heading in ("# Question: ", "# Size:     ", "# Command:  python train.py -m sweep=", "# Time:     "):
        assert heading in text
    if name in SEARCHES:
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [f"sweep={name}", "hydra.runtime.output_dir=x"], return_hydra_config=True)
        if name in SEARCHES:
            assert config.hydra.sweeper.n_trials == 20
            return
        params = {key: value.split(",") for key, value in config.hydra.sweeper.params.items()}
        assert prod(len(values) for values in params.values()) == NUM_JOBS[name]
        for key, values in params.items():
            for value in values:
                assert compose("train", [f"sweep={name}", f"{key}={value}"])[key.partition(".")[0]]
    assert config.hydra.mode.name == "MULTIRUN"
    assert params["seed"] == SEEDS.get(name, ["1", "2", "3"])
    assert name in ("seeds", "folds") or config.hydra.sweep.dir == f"runs/sweep_{name}"


@pytest.mark.parametrize(
    ("name", "num_jobs"),
    [("recipes", 13 * 5 * 2), ("normalisations", 3 * 5), ("encoders", 5), ("floors", 6 * 5), ("data_size", 3 * 5)],
)
def test_the_rounds_of_the_study_share_folds_and_budget(name, num_jobs):
    """Of rounds whose recipes are typed, the yaml has one."""
    text = (CONF / "experiment/study" / f"{name}.yaml").read_text()
    for heading in ("# Question: ", "# Size:     ", f"# Command:  python train.py -m experiment=study/{name}"):
        assert heading in text
    with initialize_config_dir(str(CONF), version_base="1.3"):
        typed = [f"experiment=study/{name}", "data.root=[a,b]", "hydra.runtime.output_dir=x"]
        config = compose("train", typed, return_hydra_config=True)
        params = {key: value.split(",") for key, value in config.hydra.sweeper.params.items()}
        for features in params["features"]:
            assert compose("train", [*typed, f"features={features}"]).features.normalise == "global_bins"
    assert prod(len(values) for values in params.values()) == num_jobs
    assert (config.hydra.mode.name, config.data.folds) == ("MULTIRUN", 5)
    assert config.hydra.sweep.dir == f"runs/study/{name}"
    assert (config.data.crop_seconds, config.trainer.max_steps, config.loss.weights.ge2e) == (1, 300, 1.0)


def test_the_number_of_seeds_is_a_setting():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["sweep=losses", "sweep.seeds=5"], return_hydra_config=True)
        assert config.hydra.sweeper.params.seed == "1,2,3,4,5"
        config = compose("train", ["sweep=losses", "sweep.seeds=0"], return_hydra_config=True)
        with pytest.raises(OmegaConfBaseException) as refusal:
            _ = config.hydra.sweeper.params.seed
    assert "sweep.seeds=0: expected an integer of at least 1" in format_user_error(refusal.value)


def test_the_number_of_folds_is_a_setting():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["sweep=folds", "data.folds=3"], return_hydra_config=True)
        assert config.hydra.sweeper.params["data.fold"] == "0,1,2"
        config = compose("train", ["sweep=folds", "data.folds=2"], return_hydra_config=True)
        with pytest.raises(OmegaConfBaseException) as refusal:
            _ = config.hydra.sweeper.params["data.fold"]
    assert "data.folds=2: expected an integer of at least 3" in format_user_error(refusal.value)


@pytest.mark.slow
def test_a_sweep_called_again_finishes_what_is_missing(monkeypatch, tmp_path, corpus):
    """Killed in the second of four jobs: the first is left alone, and all end as if nothing had happened."""
    monkeypatch.chdir(tmp_path)
    choices = ("loss=ge2e,ce", "seed=1,2", "trainer.max_steps=5")
    whole = call(monkeypatch, corpus, *choices).rename(tmp_path / "whole")
    assert jobs_of(whole) == ["loss-ce_seed-1", "loss-ce_seed-2", "loss-ge2e_seed-1", "loss-ge2e_seed-2"]
    assert sorted(json.loads((whole / "sweep.json").read_text())["jobs"]) == jobs_of(whole)
    with pytest.raises(Killed):
        call(monkeypatch, corpus, *choices, callbacks=(At("on_train_batch_end", 5 + 4, kill),))
    sweep = tmp_path / "runs/s"
    assert jobs_of(sweep) == ["loss-ge2e_seed-1", "loss-ge2e_seed-2"]
    before = files_with_times(sweep / "loss-ge2e_seed-1")
    call(monkeypatch, corpus, *choices)
    assert files_with_times(sweep / "loss-ge2e_seed-1") == before
    assert "continued" in json.loads((sweep / "loss-ge2e_seed-2/run.json").read_text())
    for job in jobs_of(whole):
        assert unlike(whole / job, sweep / job) == []
    before = files_with_times(sweep)
    call(monkeypatch, corpus, *choices)
    assert {path.name for path, time_ns in files_with_times(sweep).items() if before[path] != time_ns} <= {
        *("s", "sweep.json", "multirun.yaml")
    }


def test_a_job_that_fails_is_named_and_tried_again(monkeypatch, tmp_path, corpus, capsys):
    monkeypatch.chdir(tmp_path)
    choices = ("optimizer.lr=-1,1e-3", "trainer.max_steps=2")
    with pytest.raises(SingerVerifyError) as failure:
        call(monkeypatch, corpus, *choices)
    assert str(failure.value).startswith("runs/s: 1 done, 1 failed; the same command tries again what failed")
    console = capsys.readouterr()
    said = console.err
    assert "Error executing job" not in said
    assert "Traceback" not in console.out + said
    assert "failed: optimizer.lr--1: " in said
    assert "Invalid learning rate: -1" in said
    shown = CliRunner().invoke(app, ["runs", "runs/s"]).stdout
    assert "1 done, 1 failed" in shown
    assert "optimizer.lr--1: " in shown
    call(monkeypatch, corpus, *choices, change=train_at_a_valid_rate)
    assert read_sweep_status(tmp_path / "runs/s").num_finished == 2


@pytest.mark.slow
def test_a_job_that_is_resumed_by_itself_keeps_its_place(monkeypatch, tmp_path, corpus):
    """One that was stopped, and then failed: it ends in its folder, in the cell of the others, and is left alone."""
    monkeypatch.chdir(tmp_path)
    choices = ("sweep=seeds", "sweep.seeds=2", "loss=ge2e", "trainer.max_steps=5", "logger=none")
    interrupt = At("on_train_batch_end", 5 + 3, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        call(monkeypatch, corpus, *choices, callbacks=(interrupt,))
    sweep = tmp_path / "runs/s"
    first, second = (sweep / name for name in jobs_of(sweep))
    (second / "failure.json").write_text(json.dumps({"reason": "No space left on device."}))
    assert read_run_status(second) == "failed"
    assert train([f"resume={second}"], conf=CONF).run == second
    assert read_run_status(second) == "finished"
    cells, left_out = read_sweep_cells(sweep)
    assert [[run.path for run in cell.runs] for cell in cells] == [[first, second]]
    assert left_out == {}
    before = files_with_times(second)
    call(monkeypatch, corpus, *choices)
    assert files_with_times(second) == before


def train_at_a_valid_rate(config, **named):
    config.optimizer.lr = 1e-3
    return train(config, **named)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subdir", "folders"), [("${hydra.job.num}", ["0", "1"]), ("of seed/${seed}=é", ["of seed/1=é", "of seed/2=é"])]
)
def test_the_folders_of_jobs_are_those_that_are_set(monkeypatch, tmp_path, corpus, subdir, folders):
    monkeypatch.chdir(tmp_path)
    choices = ("seed=1,2", "trainer.max_steps=1", "logger=none", f"hydra.sweep.subdir={subdir}")
    sweep = call(monkeypatch, corpus, *choices)
    assert json.loads((sweep / "sweep.json").read_text())["jobs"] == folders
    assert read_sweep_status(sweep).num_finished == 2
    assert read_sweep_status(sweep).num_pending == 0
    before = files_with_times(sweep / folders[0])
    call(monkeypatch, corpus, *choices)
    assert files_with_times(sweep / folders[0]) == before
    cells, left_out = read_sweep_cells(sweep)
    assert [cell.name for cell in cells] == ["as configured"]
    assert [run.path for run in cells[0].runs] == [sweep / folder for folder in folders]
    assert left_out == {}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["hydra.sweep.subdir=all"], "gives several jobs the folder all, among them seed=1 and seed=2"),
        (["hydra.sweep.subdir=${seed}", "loss=ge2e,ce"], "gives several jobs the folder 1, among them loss=ge2e and"),
        (["hydra.sweep.subdir=../${seed}"], "hydra.sweep.subdir=../1: expected a folder inside that of the sweep."),
        (["hydra.sweep.subdir=" + 300 * "a" + "${seed}"], "no folder can be made there (File name too long)"),
        (["hydra.sweep.dir=/dev/null/s"], "/dev/null/s: no folder can be made there (/dev/null is a file)"),
    ],
)
def test_folders_that_jobs_cannot_have_are_refused_at_the_start(monkeypatch, tmp_path, corpus, overrides, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as refusal:
        call(monkeypatch, corpus, "seed=1,2", *overrides)
    assert str(refusal.value).startswith("error: ")
    assert said in str(refusal.value)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_corpora_of_a_sweep_may_have_any_name(monkeypatch, tmp_path, corpus):
    monkeypatch.chdir(tmp_path)
    for name in ("a (live)", "é=1"):
        (tmp_path / name).symlink_to(corpus)
    choices = ("data.root=a (live),é=1", "trainer.max_steps=1", "logger=none")
    sweep = call(monkeypatch, corpus, *choices, f"data.store_root={tmp_path}/the store #1")
    assert read_sweep_status(sweep).num_finished == 2
    assert sorted(json.loads((sweep / "sweep.json").read_text())["jobs"]) == jobs_of(sweep)
    roots = [yaml.safe_load((sweep / job / "config.yaml").read_text())["data"]["root"] for job in jobs_of(sweep)]
    assert sorted(roots) == ["a (live)", "é=1"]
    tuned = train([*tiny(corpus), f"init_from={sweep / jobs_of(sweep)[0]}", "name=tuned", "trainer.max_steps=1"])
    assert tuned.run.parent == sweep / jobs_of(sweep)[0]


@pytest.mark.slow
def test_a_job_with_other_settings_than_it_was_begun_with_is_refused(monkeypatch, tmp_path, corpus):
    monkeypatch.chdir(tmp_path)
    sweep = call(monkeypatch, corpus, "seed=1,2", "trainer.max_steps=2")
    with pytest.raises(SingerVerifyError, match=r"trainer.max_steps 2 → 3: this job was begun with other settings"):
        call(monkeypatch, corpus, "seed=1,2", "trainer.max_steps=3")
    assert read_sweep_status(sweep).num_finished == 2
    call(monkeypatch, corpus, "seed=1,2", "trainer.max_steps=2", "callbacks.last.every_n_steps=7")
    with pytest.raises(SingerVerifyError, match="a sweep trains each model on one device"):
        call(monkeypatch, corpus, "seed=3,4", "trainer=ddp")
    with pytest.raises(SingerVerifyError, match="a sweep continues by itself when it is called again"):
        call(monkeypatch, corpus, "seed=1,2", f"resume={sweep}/seed-1")


def test_settings_that_cannot_be_computed_fail_their_job_alone(tmp_path):
    with pytest.raises(JobError, match=r"nothing.there"):
        train_module().train_job(tmp_path, OmegaConf.create({"loss": "${nothing.there}"}))
    assert "nothing.there" in read_failure_reason(tmp_path)


def test_so_is_one_that_had_nothing_to_train(tmp_path):
    """Such a job has a best model and no last checkpoint."""
    (tmp_path / "checkpoints").mkdir()
    settings = {"trainer": {}, "resume": None, "corpus": {}, "data": {"root": "a"}}
    torch.save({METADATA_KEY: {"version": METADATA_VERSION}, SETTINGS_KEY: settings}, tmp_path / BEST_CHECKPOINT)
    with pytest.raises(JobError, match=r"data.root a → b: this job was begun with other settings"):
        run_job(tmp_path, settings | {"data": {"root": "b"}}, lambda _: None, format_user_error)


def test_an_interrupted_job_ends_the_sweep(monkeypatch, tmp_path, corpus):
    monkeypatch.chdir(tmp_path)
    interrupt = At("on_train_batch_end", 3, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        call(monkeypatch, corpus, "seed=1,2", callbacks=(interrupt,))
    sweep = tmp_path / "runs/s"
    assert jobs_of(sweep) == ["seed-1"]
    assert read_sweep_status(sweep) == SweepStatus(0, 0, {}, 2, None)


def test_so_does_one_that_is_interrupted_in_its_last_step(monkeypatch, tmp_path, corpus):
    monkeypatch.chdir(tmp_path)
    interrupt = At("on_train_batch_end", 1, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        call(monkeypatch, corpus, "seed=1,2", "trainer.max_steps=1", callbacks=(interrupt,))
    sweep = tmp_path / "runs/s"
    assert jobs_of(sweep) == ["seed-1"]
    assert read_run_status(sweep / "seed-1") == "finished"


def test_names_of_jobs_are_those_of_hydra_and_short_enough():
    choices = {"seed": ["1", "2"], "+data.x": ["a/b"], "trainer.max_steps": ["3"], "name": ["s"]}
    names = build_job_names(choices, ["name", "trainer.max_steps"])
    assert [re.sub("-[0-9a-f]{8}$", "", name) for name in names] == ["+data.x-a-b_seed-1", "+data.x-a-b_seed-2"]
    assert len(set(names)) == 2
    long = [build_job_folder_name("features=" + "é" * 150 + f",seed={seed}") for seed in (1, 2)]
    assert len(set(long)) == 2
    assert all(len(name.encode()) <= MAX_FOLDER_NAME_BYTES for name in long)


def write_job(sweep, name, seconds=None, reason=None):
    (sweep / name).mkdir(parents=True)
    if reason:
        (sweep / name / "failure.json").write_text(json.dumps({"reason": reason}))
        return
    (sweep / name / "run.json").write_text(json.dumps({"process": identify_process()}))
    if seconds is not None:
        metrics = {"stopped": "step limit", "seconds": seconds, "best": {"val/eer": 0.1}, "steps": 4}
        (sweep / name / "metrics.json").write_text(json.dumps(metrics))


def test_progress_is_read_off_the_folders(tmp_path):
    write_sweep_plan(tmp_path, SweepPlan(list("abcdef"), 6, 2, time.time(), identify_process()))
    assert format_sweep_status(read_sweep_status(tmp_path)) == "0 done, 6 to go"
    write_job(tmp_path, "a", seconds=100.0)
    write_job(tmp_path, "b", seconds=200.0)
    write_job(tmp_path, "c")
    write_job(tmp_path, "d", reason="no reason.")
    write_job(tmp_path, "of another call", seconds=1.0)
    progress = read_sweep_status(tmp_path)
    assert progress == SweepStatus(2, 1, {"d": "no reason."}, 2, 150.0 * 3 / 2)
    assert format_sweep_status(progress) == "2 done, 1 running, 1 failed, 2 to go, about 4 min left"
    with pytest.raises(SingerVerifyError, match=r"has no readable sweep.json; give the folder of a sweep"):
        read_sweep_status(tmp_path / "a")


def test_a_failure_survives_its_process():
    import pickle

    error = pickle.loads(pickle.dumps(JobError(Path("a/b"), "why.")))
    assert (error.job, str(error)) == (Path("a/b"), "a/b: why.")


@pytest.mark.parametrize("hop_ms", [5.0, 12.5])
def test_crops_of_another_hop_hear_the_same(hop_ms):
    """The same singers and utterances, and crops that begin and end within a hop or so of the same time."""
    seconds = np.random.default_rng(0).uniform(1.0, 9.0, 24)
    plans = {}
    for hop in (10.0, hop_ms):
        num_frames, _ = resolve_crop_lengths(50, 50, 0.5, hop)
        frames = 1 + (1000 * seconds / hop).astype(int)
        sampler = SingerSampler(np.repeat(np.arange(6), 4), frames, 4, 3, num_frames, 1)
        plans[hop] = [sampler.plan_batch(step) for step in range(50)]
    for ours, other in zip(plans[10.0], plans[hop_ms], strict=True):
        np.testing.assert_array_equal(ours.utterances, other.utterances)
        np.testing.assert_allclose(ours.starts * 10.0, other.starts * hop_ms, atol=10.0 + hop_ms)


def test_a_window_is_as_long_as_a_crop_unless_it_is_set():
    assert resolve_crop_lengths(50, 50, 0.5, 5.0) == (100, 100)
    assert resolve_crop_lengths(50, 3000, 0.5, 5.0) == (100, 3000)
    assert resolve_crop_lengths(50, None, None, 5.0) == (50, 50)
    assert resolve_crop_lengths(50, 50, 0.001, 10.0) == (1, 1)
    with pytest.raises(SingerVerifyError, match=r"data.crop_seconds=0: expected a number between"):
        resolve_crop_lengths(50, 50, 0, 10.0)


KILLED = "trainer.max_steps=30", "loss=ge2e,ce"


def run_command(folder, corpus, *overrides):
    """`python train.py -m ...` in a process of its own, which writes to the file `said`."""
    folder.mkdir(exist_ok=True)
    typed = [override for override in tiny(corpus, pictures=True) if "progress_bar" not in override]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(ROOT / "train.py"), "-m", *typed, "name=s", *overrides]
    with open(folder / "said", "w") as said:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT)


def finished_command(folder, corpus, *overrides):
    """Its exit status, and what it said."""
    status = run_command(folder, corpus, *overrides).wait(250)
    return status, (folder / "said").read_text()


@pytest.fixture(scope="module")
def left_alone(corpus, tmp_path_factory):
    """A sweep that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    status, said = finished_command(folder, corpus, *KILLED)
    assert status == 0, said
    return folder / "runs/s"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [[], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]])
def test_a_sweep_killed_by_the_system_is_finished_by_the_same_command(tmp_path, corpus, left_alone, launcher):
    """SIGKILL in the middle of a job, and the same models as of a sweep that was left alone."""
    process, sweep = run_command(tmp_path, corpus, *KILLED, *launcher), tmp_path / "runs/s"
    while not list(sweep.glob("*/checkpoints/last.ckpt")):
        assert process.poll() is None, (tmp_path / "said").read_text()
        time.sleep(0.05)
    process.kill()
    process.wait()
    for _ in range(5):  # workers of the killed process may hold a job until they have finished it
        status, said = finished_command(tmp_path, corpus, *KILLED, *launcher)
        if status == 0:
            break
        assert "is being trained by another process" in said
        time.sleep(2)
    assert status == 0, said
    assert "2 done" in said
    for job in jobs_of(left_alone):
        assert unlike(left_alone / job, sweep / job) == []
        assert "name=s" not in yaml.safe_load((sweep / job / "overrides.yaml").read_text())


@pytest.mark.slow
def test_jobs_of_submitit_train_the_same(tmp_path, corpus, left_alone):
    """With its local executor, which hands jobs over as it does on a SLURM cluster."""
    launcher = "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"
    status, said = finished_command(tmp_path, corpus, *KILLED, *launcher)
    assert status == 0, said
    assert all(unlike(left_alone / job, tmp_path / "runs/s" / job) == [] for job in jobs_of(left_alone))
