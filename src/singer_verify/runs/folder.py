"""The record of a run: how it was asked for, with which versions, and what came out."""

import importlib.metadata
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import yaml

from singer_verify.atomic_files import write_bytes_atomically
from singer_verify.errors import SingerVerifyError
from singer_verify.runs.checkpoints import BEST_CHECKPOINT, SAVED_MODEL

RUN_FILENAME, METRICS_FILENAME, FAILURE_FILENAME = "run.json", "metrics.json", "failure.json"
RECORDED_PACKAGES = (
    "singer_verify",
    "torch",
    "pytorch-lightning",
    "hydra-core",
    "omegaconf",
    "numpy",
    "tensorboard",
    "soundfile",
)


def resolve_run_folder(is_named: bool, new: str, resume: str | None, ckpt_path: str | None) -> str:
    """Where a training writes: the folder of the run that it continues, or else, or if a name was typed, a new one.

    Args:
        is_named: whether a name was typed.
        new: the new folder.
        resume: folder of the run to continue.
        ckpt_path: checkpoint to continue from.

    Raises:
        SingerVerifyError: what is to be continued does not exist.
    """
    if resume is not None and not (Path(resume) / RUN_FILENAME).is_file():
        raise SingerVerifyError(f"resume={resume}: has no {RUN_FILENAME}, so it is not the folder of a run; give one.")
    if ckpt_path is not None and not Path(ckpt_path).is_file():
        raise SingerVerifyError(f"ckpt_path={ckpt_path}: no such file; give a run's checkpoints/last.ckpt.")
    if is_named or (resume is None and ckpt_path is None):
        return new
    return resume if resume is not None else str(find_run_folder(Path(str(ckpt_path))) or new)


def find_run_folder(model: Path) -> Path | None:
    """The folder of the run that a model belongs to, if it still lies where it was written; links are followed.

    Args:
        model: a run folder, a checkpoint in its `checkpoints`, or its `saved_model.pt`.
    """
    for place in (model, model.absolute(), model.resolve()):
        if place.is_dir():
            folder = place
        elif place.name == SAVED_MODEL.name:
            folder = place.parent
        elif place.parent.name == BEST_CHECKPOINT.parent.name:
            folder = place.parent.parent
        else:
            continue
        if (folder / RUN_FILENAME).is_file() or (folder / BEST_CHECKPOINT).is_file():
            return folder
    return None


def claim_run_folder(run: Path, source: Path | None) -> None:
    """Refuse the folder of another run; a run that continues in a new folder brings its best model there.

    Args:
        run: folder to write to.
        source: of the run that continues, if one does.

    Raises:
        SingerVerifyError: the folder holds another run.
    """
    if source is not None and source.resolve() == run.resolve():
        return
    refuse_existing_run(run)
    if source is not None and (source / BEST_CHECKPOINT).exists():
        (run / BEST_CHECKPOINT).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / BEST_CHECKPOINT, run / BEST_CHECKPOINT)


def refuse_existing_run(folder: Path) -> None:
    """Refuse a folder that holds a run already.

    Raises:
        SingerVerifyError: the folder holds a run already.
    """
    if (folder / RUN_FILENAME).exists():
        raise SingerVerifyError(f"{folder}: a run of this name exists; choose another name= or delete that folder.")


def record_run(folder: Path, config: str, overrides: list[str], **origin: dict[str, Any] | None) -> None:
    """Record how a run was asked for and with which versions; where it continues, after what is recorded already.

    Args:
        folder: of the run.
        config: the resolved configuration as yaml.
        overrides: what was typed.
        origin: where its first weights come from, `parent` or `imported`, if not from chance.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(folder / "config.yaml", config.encode())
    write_bytes_atomically(folder / "overrides.yaml", yaml.safe_dump(overrides, allow_unicode=True).encode())
    session = {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES},
        "git_commit": _read_git_commit(),
        "process": identify_process(),
    }
    if (folder / RUN_FILENAME).exists():
        record = json.loads((folder / RUN_FILENAME).read_text(encoding="utf-8"))
        record["continued"] = [*record.get("continued", []), session]
    else:
        record = {"name": folder.name, **session, **origin}
    write_json(folder / RUN_FILENAME, record)


def write_json(path: Path, content: Any) -> None:
    """Write a whole file or none of it."""
    write_bytes_atomically(path, json.dumps(content, indent=2).encode())


def _read_git_commit() -> str | None:
    """Commit of the sources, with a plus sign if they were changed since; None outside a git checkout."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if status.stdout.strip() else "")


def identify_process() -> dict[str, Any]:
    """What tells this process from every other: its number, its machine, and when it began (seconds since 1970)."""
    return {"id": os.getpid(), "host": socket.gethostname(), "began": psutil.Process().create_time()}


def is_process_alive(process: dict[str, Any]) -> bool | None:
    """Whether a recorded process still runs; None where that cannot be told, because it ran on another machine.

    A number that was given to a new process since does not count: it began at another time.
    """
    if process["host"] != socket.gethostname():
        return None
    try:
        found = psutil.Process(process["id"])
        began_then = abs(found.create_time() - process["began"]) < 1.0
        return began_then and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
