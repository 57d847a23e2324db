"""The record of a run: how it was asked for, with which versions, and what came out."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from singer_verify.errors import SingerVerifyError
from singer_verify.runs.process import this_process

RUN_NAME, METRICS_NAME = "run.json", "metrics.json"
PACKAGES = (
    "singer_verify",
    "torch",
    "pytorch-lightning",
    "hydra-core",
    "omegaconf",
    "numpy",
    "tensorboard",
    "soundfile",
)


def refuse_existing(folder: Path) -> None:
    """
    Raises:
        SingerVerifyError: the folder holds a run already.
    """
    if (folder / RUN_NAME).exists():
        raise SingerVerifyError(f"{folder}: a run of this name exists; choose another name= or delete that folder.")


def write_run(folder: Path, config: str, overrides: list[str], **origin: dict[str, Any] | None) -> None:
    """Record how a run was asked for and with which versions.

    Args:
        folder: of the run.
        config: the resolved configuration as yaml.
        overrides: what was typed.
        origin: where its first weights come from, `parent` or `imported`, if not from chance.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    (folder / "overrides.yaml").write_text(yaml.safe_dump(overrides, allow_unicode=True), encoding="utf-8")
    record = {
        "name": folder.name,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "git_commit": _git_commit(),
        "process": this_process(),
        **origin,
    }
    write_json(folder / RUN_NAME, record)


def write_json(path: Path, content: Any) -> None:
    """Write a whole file or none of it."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content, indent=2), encoding="utf-8")
    os.replace(part, path)


def _git_commit() -> str | None:
    """Commit of the sources, with a plus sign if they were changed since; None outside a git checkout."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if status.stdout.strip() else "")
