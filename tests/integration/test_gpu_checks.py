"""The script that checks the project on a machine with a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "scripts/gpu_checks.sh"


def check(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TMPDIR": str(folder)} | environment
    command = ["bash", str(SCRIPT), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_before_doing_anything(tmp_path: Path) -> None:
    ended = check(tmp_path, PYTHON=sys.executable, LOGS=str(tmp_path / "logs"))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"error: {sys.executable} finds no GPU")
    assert ended.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_it_goes_on_after_a_failed_step(tmp_path: Path) -> None:
    """Every step fails here; each is told, and what it printed is kept."""
    ended = check(tmp_path, PYTHON="false", ACCELERATOR="cpu", STEPS="2", LOGS=str(tmp_path / "logs"))
    lines = [line for line in ended.stdout.splitlines() if line.startswith(("ok ", "failed "))]
    assert len(lines) == 10
    assert all(line.startswith("failed  ") and line.endswith("(exit status 1)") for line in lines)
    assert ended.stdout.splitlines()[-1].startswith("10 steps failed, ")
    assert ended.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
    assert "experiment=distil" in (tmp_path / "logs/distillation.log").read_text()


@pytest.mark.parametrize("part", ["recipes", "data_size"])
def test_a_part_of_the_study_is_trained_by_the_command_of_its_experiment(tmp_path: Path, part: str) -> None:
    """Whose interpreter only prints here what it is given."""
    (python := tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    chosen = [] if part == "recipes" else [f"experiment=study/{part}"]
    given = [*chosen, "data.root=[a b,c]", "features=mel40,mfcc", "name=study/none of them"]
    ended = check(tmp_path, "study", *given, PYTHON=str(python), ACCELERATOR="cpu", JOBS="2")
    *said, last = ended.stdout.splitlines()
    assert said == [
        *("train.py", "-m", f"experiment=study/{part}", "trainer.accelerator=cpu"),
        *("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "~callbacks.progress_bar"),
        *("data.root=[a b,c]", "features=mel40,mfcc", "name=study/none of them"),
    ]
    assert last == "0 trainings of study/none of them are finished; exit status 0"
    assert ended.returncode == 0
