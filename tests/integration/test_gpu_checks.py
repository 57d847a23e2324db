"""The script that checks the project on a machine with a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "scripts/gpu_checks.sh"


def check(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TMPDIR": str(folder)} | environment
    return subprocess.run(["bash", str(SCRIPT)], env=environment, capture_output=True, text=True, check=False)


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
