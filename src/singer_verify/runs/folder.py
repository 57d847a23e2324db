"""A run's folder and its record: settings, command, versions of the packages, process, parent."""

import errno
import importlib.metadata
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import yaml

from singer_verify.atomic_files import write_bytes_atomically
from singer_verify.errors import SingerVerifyError

BEST_CHECKPOINT, LAST_CHECKPOINT = Path("checkpoints/best.ckpt"), Path("checkpoints/last.ckpt")
SAVED_MODEL = Path("saved_model.pt")
RUN_FILENAME, METRICS_FILENAME, FAILURE_FILENAME = "run.json", "metrics.json", "failure.json"
SWEEP_PLAN_FILENAME, LOG_FILENAME = "sweep.json", "train.log"
HYDRA_FOLDER = ".hydra"
RECORDED_PACKAGES = (
    "singer_verify",
    "torch",
    "pytorch-lightning",
    "hydra-core",
    "omegaconf",
    "numpy",
    "tensorboard",
    "av",
)


def resolve_run_folder(is_named: bool, new: str, resume: str | None, ckpt_path: str | None) -> str:
    """Return where a training writes: a new folder, or that of the run it continues unless a name was typed.

    Args:
        is_named: whether a name was typed.
        new: the folder of a new run.
        resume: folder of the run to continue, if given.
        ckpt_path: checkpoint to continue from, if given.

    Raises:
        SingerVerifyError: the run or checkpoint to continue from does not exist.
    """
    if resume is not None:
        require_run_folder(Path(resume))
    if ckpt_path is not None and not Path(ckpt_path).is_file():
        raise SingerVerifyError(f"ckpt_path={ckpt_path}: no such file; expected a run's checkpoints/last.ckpt.")
    if is_named or (resume is None and ckpt_path is None):
        return new
    return resume if resume is not None else str(find_run_folder(Path(str(ckpt_path))) or new)


def require_run_folder(resume: Path) -> None:
    """Refuse a folder to resume that is not a run's.

    Raises:
        SingerVerifyError: it has no record of a run.
    """
    if not (resume / RUN_FILENAME).is_file():
        problem = f"has no {RUN_FILENAME}" if resume.is_dir() else "no such folder"
        raise SingerVerifyError(f"resume={resume}: {problem}; expected the folder of a run (singer-verify runs).")


def find_run_folder(model: Path) -> Path | None:
    """Return the folder of the run that a model belongs to, or None where it lies in none; links are followed.

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
    """Refuse a folder that holds another run; copy the best model of a run that continues in a new folder.

    Args:
        run: folder to write to.
        source: folder of the run that is continued, if any.

    Raises:
        SingerVerifyError: the folder contains another run.
    """
    if source is not None and source.resolve() == run.resolve():
        return
    refuse_existing_run(run)
    if source is not None and (source / BEST_CHECKPOINT).exists():
        (run / BEST_CHECKPOINT).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / BEST_CHECKPOINT, run / BEST_CHECKPOINT)


def refuse_existing_run(folder: Path) -> None:
    """Refuse a folder that contains a run.

    Raises:
        SingerVerifyError: the folder contains one.
    """
    if (folder / RUN_FILENAME).exists():
        go_on = f"continue it with resume={folder}, " if (folder / LAST_CHECKPOINT).exists() else ""
        raise SingerVerifyError(
            f"{folder}: a run of this name exists; {go_on}choose another name= or delete the folder."
        )


def remove_unused_folder(run: Path) -> None:
    """Remove the folder of a training that was refused, where it holds nothing but Hydra's record of the settings."""
    with suppress(OSError):  # the refusal is what matters
        if [path.name for path in run.iterdir()] == [HYDRA_FOLDER]:
            shutil.rmtree(run)


def require_creatable_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to, before anything else is done.

    Raises:
        SingerVerifyError: a name in it is too long, a file is in the way, or the disk does not let this user write.
    """
    try:
        existing = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        for name in folder.parts[len(existing.parts) :]:
            if len(os.fsencode(name)) > os.pathconf(existing, "PC_NAME_MAX"):
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        if not existing.is_dir():
            raise OSError(errno.ENOTDIR, f"{existing} is a file")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, f"{existing} is not writable")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SingerVerifyError(
            f"{folder}: no folder can be made there ({reason}); choose another name=, or start in another folder."
        ) from error


def record_run(folder: Path, config: str, overrides: list[str], **origin: dict[str, Any] | None) -> None:
    """Write config.yaml, overrides.yaml and run.json; a session that continues a run is appended to its record.

    Args:
        folder: folder of the run.
        config: complete settings as yaml.
        overrides: settings as typed.
        origin: source of the initial weights, `parent` or `imported`, unless they are random.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(folder / "config.yaml", config.encode())
    write_bytes_atomically(folder / "overrides.yaml", yaml.safe_dump(overrides, allow_unicode=True).encode())
    session = {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES},
        "git_commit": read_git_commit(),
        "process": identify_process(),
    }
    if (folder / RUN_FILENAME).exists():
        record = json.loads((folder / RUN_FILENAME).read_text(encoding="utf-8"))
        record["continued"] = [*record.get("continued", []), session]
    else:
        record = {"name": folder.name, **session, **origin}
    write_json(folder / RUN_FILENAME, record)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_bytes_atomically(path, json.dumps(content, indent=2).encode())


def read_git_commit() -> str | None:
    """Return the commit of the sources, with a plus sign if they have changed since; None outside a checkout."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if status.stdout.strip() else "")


def identify_process() -> dict[str, Any]:
    """Return what identifies this process: its id, its machine, and when it began (seconds since 1970)."""
    return {"id": os.getpid(), "host": socket.gethostname(), "began": psutil.Process().create_time()}


def is_process_alive(process: dict[str, Any]) -> bool | None:
    """Return whether a recorded process still runs; None where it ran on another machine.

    Process ids are reused, so the time when the process began must match as well.
    """
    if process["host"] != socket.gethostname():
        return None
    try:
        running = psutil.Process(process["id"])
        began_then = abs(running.create_time() - process["began"]) < 1.0
        return began_then and running.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
