"""A project with a package of its own beside train.py, and commands that are called in its folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import soundfile
import torch

from singer_verify.runs.checkpoints import read_checkpoint
from support.audio import sing

ROOT = Path(__file__).parents[2]
SINGERS = ("ann", "ben", "cleo", "dan", "eve", "fay")
SETTINGS = (
    *("features=bands", "encoder=conv", "loss=ge2e+aam", "trust=[singer_plugin]"),
    *("data.root=corpus", "data.num_frames=30", "data.singers_per_batch=2", "data.utterances_per_singer=2"),
    *("data.num_val_batches=1", "data.num_extraction_workers=1", "trainer.max_steps=4", "trainer.val_check_interval=2"),
    *("trainer.log_every_n_steps=1", "trainer.accelerator=cpu"),
)
REFUSAL = "comes from singer_plugin, which is not trusted, and was not imported"


def execute(project: Path, *command: str, packages: Path = ROOT / "src") -> subprocess.CompletedProcess[str]:
    """Run a command in the project's folder, as a user would.

    Args:
        project: the folder.
        command: arguments of Python.
        packages: a folder of installed packages.
    """
    path = os.pathsep.join([str(ROOT / "src"), str(packages)])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "COLUMNS": "200"}
    environment["PYTHONSAFEPATH"] = "" if command[0] == "train.py" else "1"  # a console command's path lacks the folder
    return subprocess.run(
        [sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True, timeout=200
    )


def train(project: Path, *overrides: str) -> str:
    done = execute(project, "train.py", *overrides)
    assert done.returncode == 0, done.stderr
    return done.stdout


def call(project: Path, *arguments: str, packages: Path = ROOT / "src") -> str:
    done = execute(project, "-m", "singer_verify.cli", *arguments, packages=packages)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_project(folder: Path) -> Path:
    """Write the project, and a corpus that its reader prepared."""
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copytree(ROOT / "tests/plugins/conf", folder / "conf", dirs_exist_ok=True)
    shutil.copytree(ROOT / "tests/plugins/singer_plugin", folder / "singer_plugin")
    shutil.copy(ROOT / "train.py", folder)
    (folder / "downloads").mkdir()
    for number, singer in enumerate(SINGERS):
        for song in range(3):
            soundfile.write(folder / f"downloads/{singer}__{song}.flac", sing(100 * number + song), 16000)
    reader = ("prepare", "singer_plugin.readers.FlatReader", "downloads", "--out", "corpus")
    call(folder, *reader, "--val", "2", "--option", "prefix=x_")
    return folder


def last_of(run: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(run / "checkpoints/last.ckpt")["state_dict"]
