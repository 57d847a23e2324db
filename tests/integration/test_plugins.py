"""Parts of a package outside singer_verify, taken through every command, and refused where they are not trusted."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support.audio import sing

from singer_verify.runs.checkpoints import read_checkpoint
from singer_verify.runs.model_metadata import METADATA_KEY

ROOT = Path(__file__).parents[2]
SETTINGS = (
    *("features=bands", "encoder=conv", "loss=ge2e+aam", "trust=[singer_plugin]"),
    *("data.root=corpus", "data.num_frames=30", "data.singers_per_batch=2", "data.utterances_per_singer=2"),
    *("data.num_val_batches=1", "data.num_extraction_workers=1", "trainer.max_steps=4", "trainer.val_check_interval=2"),
    *("trainer.log_every_n_steps=1", "trainer.accelerator=cpu"),
)
REFUSAL = "comes from singer_plugin, which is not trusted, and was not imported"


def execute(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's folder, as a user would."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"}
    environment["PYTHONSAFEPATH"] = "" if command[0] == "train.py" else "1"  # a console command's path lacks the folder
    return subprocess.run(
        [sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True, timeout=200
    )


def train(project: Path, *overrides: str) -> str:
    done = execute(project, "train.py", *overrides)
    assert done.returncode == 0, done.stderr
    return done.stdout


def call(project: Path, *arguments: str) -> str:
    done = execute(project, "-m", "singer_verify.cli", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with a package beside train.py, and a corpus that its reader prepared."""
    folder = tmp_path_factory.mktemp("plugins") / "project"
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copytree(ROOT / "tests/plugins/conf", folder / "conf", dirs_exist_ok=True)
    shutil.copytree(ROOT / "tests/plugins/singer_plugin", folder / "singer_plugin")
    shutil.copy(ROOT / "train.py", folder)
    (folder / "downloads").mkdir()
    for number, singer in enumerate(("ann", "ben", "cleo", "dan", "eve", "fay")):
        for song in range(3):
            soundfile.write(folder / f"downloads/{singer}__{song}.flac", sing(100 * number + song), 16000)
    reader = ("prepare", "singer_plugin.readers.FlatReader", "downloads", "--out", "corpus")
    call(folder, *reader, "--val", "2", "--option", "prefix=x_")
    return folder


@pytest.fixture(scope="module")
def run(project: Path) -> Path:
    train(project, *SETTINGS, "name=first")
    return project / "runs/first"


def last_of(run: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(run / "checkpoints/last.ckpt")["state_dict"]


def test_a_reader_prepares_a_corpus(project: Path) -> None:
    singers = {path.name for split in ("train", "val") for path in (project / "corpus" / split).iterdir()}
    assert singers == {f"x_{name}" for name in ("ann", "ben", "cleo", "dan", "eve", "fay")}


def test_a_checkpoint_names_the_packages(run: Path) -> None:
    metadata = read_checkpoint(run / "checkpoints/best.ckpt")[METADATA_KEY]
    assert metadata["packages"] == ["singer_plugin"]
    assert metadata["recipe"]["_target_"] == "singer_plugin.features.LogBands"
    assert metadata["encoder"]["channels"] == [8, 8]
    assert "aam" in json.dumps(sorted(last_of(run)))


def test_training_refuses_what_loading_would(project: Path) -> None:
    done = execute(project, "train.py", *SETTINGS, "trust=[]", "name=refused")
    assert done.returncode == 1
    assert REFUSAL in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (project / "runs/refused/checkpoints").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("embed", "runs/first", "downloads/ann__0.flac", "--out", "embeddings.npz"),
        ("evaluate", "runs/first", "corpus", "--json"),
        ("leaderboard", "runs", "--corpus", "corpus", "--split", "val"),
        ("export", "runs/first", "--onnx", "model.onnx"),
        ("verify", "runs/first", "downloads/ann__0.flac", "downloads/ben__0.flac", "--json"),
    ],
    ids=lambda command: command[0],
)
def test_a_command_loads_it_if_trusted(project: Path, run: Path, command: tuple[str, ...]) -> None:
    refused = execute(project, "-m", "singer_verify.cli", *command)
    assert REFUSAL in " ".join(refused.stderr.split())
    assert "--trust singer_plugin" in " ".join(refused.stderr.split())
    done = execute(project, "-m", "singer_verify.cli", *command, "--trust", "singer_plugin")
    assert done.returncode in (0, 3), done.stderr  # 3: no threshold is known
    if command[0] == "embed":
        rows = np.load(project / "embeddings.npz")["embeddings"]
        assert rows.shape == (1, 6)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


def test_the_projects_conf_trusts(project: Path, run: Path) -> None:
    settings = project / "conf/train.yaml"
    before = settings.read_text()
    settings.write_text(before.replace("trust: []", "trust: [singer_plugin]"))
    try:
        call(project, "embed", "runs/first", "downloads/ann__0.flac", "--out", "again.npz")
    finally:
        settings.write_text(before)


def test_it_resumes_to_the_bit(project: Path, run: Path) -> None:
    train(project, *SETTINGS, "name=stopped", "trainer.max_steps=2")
    refused = execute(project, "train.py", "resume=runs/stopped", "trainer.max_steps=4")
    assert REFUSAL in " ".join(refused.stderr.split())  # what a run's folder says trusts nothing
    train(project, "resume=runs/stopped", "trainer.max_steps=4", "trust=[singer_plugin]")
    whole, resumed = last_of(run), last_of(project / "runs/stopped")
    assert any("running_mean" in name for name in whole)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_frozen_statistics_do_not_drift(project: Path, run: Path) -> None:
    train(project, *SETTINGS, "init_from=runs/first", "name=tuned", "freeze=[front]")
    before = read_checkpoint(run / "checkpoints/best.ckpt")["state_dict"]
    after = last_of(run / "tuned")
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith("encoder.front")} <= same
    assert "encoder.back.1.running_mean" not in same
    assert json.loads((run / "tuned/run.json").read_text())["parent"]["taken"] == ["encoder", "ge2e", "aam"]


def test_a_sweep_trains_it(project: Path) -> None:
    train(project, "-m", *SETTINGS, "name=sweep", "loss.weights.aam=0.5,1.0")
    assert len(list((project / "runs/sweep").rglob("best.ckpt"))) == 2


@pytest.mark.slow
def test_two_processes_agree(project: Path) -> None:
    two = ("trainer=ddp", "trainer.devices=2", "loss.gather=true", "data.singers_per_batch=4")
    train(project, *SETTINGS, *two, "name=both")
    train(project, "resume=runs/both", "trainer.max_steps=6", "trust=[singer_plugin]")
    assert all(torch.isfinite(tensor).all() for tensor in last_of(project / "runs/both").values())
