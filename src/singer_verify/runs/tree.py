"""The runs below a folder as a tree: settings, metrics, status and parent of each."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from singer_verify.errors import SingerVerifyError
from singer_verify.runs.folder import (
    FAILURE_FILENAME,
    LOG_FILENAME,
    METRICS_FILENAME,
    RUN_FILENAME,
    SWEEP_PLAN_FILENAME,
    is_process_alive,
)
from singer_verify.safe_loading import OWN_PACKAGE

STATUS_BY_STOP_REASON = {
    "step limit": "finished",
    "nothing to train": "finished",
    "no further improvement": "stopped early",
    "interrupted": "interrupted",
}
FINISHED_STATUSES = ("finished", "stopped early")  # statuses of runs that nothing remains to be trained of
IMPORTED_STATUS = "imported"


@dataclass(frozen=True)
class RunSummary:
    """Summary of a run, as `singer-verify runs` shows it.

    Attributes:
        path: folder of the run, relative to the folder that was searched.
        parent: run whose folder contains it; None for a root.
        sweep: folder of the sweep that the run is a job of, relative to the folder that was searched; None for a run
            of its own, and where that folder is the sweep.
        started: time when it was begun, as ISO 8601.
        corpus: name of the folder of the corpus; of several, joined by plus signs.
        features: module of the recipe, and number of bins.
        encoder: module of the encoder.
        loss: names of the loss terms.
        steps: number of steps trained; None until the run has ended.
        best_eer: best EER of its validations, in [0, 1]; None until the run has ended.
        status: running, finished (all steps), stopped early (no further improvement), interrupted, crashed (ended from
            outside), failed (by an error), imported, unknown (begun on another machine and not ended), unreadable
            (damaged record).
        reason: why it failed, or the last message before it crashed.
    """

    path: str
    parent: str | None
    sweep: str | None = None
    started: str | None = None
    corpus: str | None = None
    features: str | None = None
    encoder: str | None = None
    loss: str | None = None
    steps: int | None = None
    best_eer: float | None = None
    status: str = "unreadable"
    reason: str | None = None


def read_run_tree(folder: Path) -> list[RunSummary]:
    """Return every run below a folder, parents before children, sorted by name.

    Raises:
        SingerVerifyError: no such folder.
    """
    if not folder.is_dir():
        raise SingerVerifyError(f"{folder}: no such folder; give the folder that holds the runs.")
    return list(_walk_runs(folder, folder, None, None))


def _walk_runs(folder: Path, top: Path, parent: str | None, sweep: str | None) -> Iterator[RunSummary]:
    if (folder / RUN_FILENAME).is_file() or (folder / FAILURE_FILENAME).is_file():
        parent, outer = folder.relative_to(top).as_posix(), parent
        yield replace(read_run_summary(folder, parent, outer), sweep=sweep)
    elif folder != top and (folder / SWEEP_PLAN_FILENAME).is_file():
        sweep = folder.relative_to(top).as_posix()
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _walk_runs(Path(entry.path), top, parent, sweep)


def read_run_status(run: Path) -> str:
    """Return the status of a run, as in `RunSummary`; waiting where it has not begun."""
    if not (run / RUN_FILENAME).is_file():
        return "failed" if (run / FAILURE_FILENAME).is_file() else "waiting"
    try:
        return _derive_run_status(
            run, json.loads((run / RUN_FILENAME).read_text(encoding="utf-8")), read_run_metrics(run)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "unreadable"


def read_run_summary(run: Path, path: str, parent: str | None) -> RunSummary:
    """Summarise a run from the files in its folder."""
    if not (run / RUN_FILENAME).is_file():
        return RunSummary(path, parent, status=read_run_status(run), reason=read_failure_reason(run))
    try:
        record = json.loads((run / RUN_FILENAME).read_text(encoding="utf-8"))
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        metrics = read_run_metrics(run)
        imported = record.get("imported")
        status = IMPORTED_STATUS if imported else _derive_run_status(run, record, metrics)
        return RunSummary(
            path=path,
            parent=parent,
            started=record.get("started"),
            corpus=format_corpus_name(config.get("data", {}).get("root")),
            features=format_features_name(config.get("from_data", config)["features"]),
            encoder=config["encoder"]["_target_"].split(".")[-2] if "encoder" in config else None,
            loss="+".join(config["loss"]["terms"]) if "loss" in config else None,
            steps=metrics["steps"] if metrics else imported and imported["step"],
            best_eer=metrics["best"]["val/eer"] if metrics and metrics["best"] else None,
            status=status,
            reason=_read_reason(run, status),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return RunSummary(path, parent)


def _read_reason(run: Path, status: str) -> str | None:
    """Return why a run failed, or the last message of its log where it ended from outside; None of other runs."""
    if status == "failed":
        return read_failure_reason(run)
    if status != "crashed":
        return None
    try:
        last = (run / LOG_FILENAME).read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2]
    except OSError:
        last = ""
    return f"it was ended from outside; last message: {last}" if last else "it was ended from outside"


def read_failure_reason(run: Path) -> str:
    """Return why a run failed."""
    try:
        return str(json.loads((run / FAILURE_FILENAME).read_text(encoding="utf-8"))["reason"])
    except (OSError, ValueError, LookupError, TypeError):
        return f"{FAILURE_FILENAME} cannot be read."


def format_corpus_name(root: str | list[str] | None) -> str | None:
    """Format the folder or the folders of a corpus by their names."""
    roots = [root] if isinstance(root, str) else root or []
    return "+".join(Path(folder).name or str(folder) for folder in roots) or None


def read_run_metrics(run: Path) -> dict[str, Any] | None:
    """Return a run's metrics.json; None where it has not ended."""
    path = run / METRICS_FILENAME
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _derive_run_status(run: Path, record: dict[str, Any], metrics: dict[str, Any] | None) -> str:
    """Return how a run ended if its last process wrote metrics, else whether that process still runs."""
    if (run / FAILURE_FILENAME).is_file():
        return "failed"
    process = [record, *record.get("continued", [])][-1]["process"]
    if metrics and (run / METRICS_FILENAME).stat().st_mtime >= process["began"]:
        return STATUS_BY_STOP_REASON[metrics["stopped"]]
    return {True: "running", False: "crashed", None: "unknown"}[is_process_alive(process)]


def format_features_name(recipe: dict[str, Any]) -> str:
    """Format a recipe's module and its number of bins where that is a setting: mel40, mel40+pitch, mfcc20+deltas.

    A recipe of another package is named by its class, because its module may be called anything.
    """
    path = recipe["_target_"].split(".")
    module = path[-2] if path[0] == OWN_PACKAGE else path[-1]
    if isinstance(recipe.get("stack"), list):
        return "+".join(part if isinstance(part, str) else format_features_name(part) for part in recipe["stack"])
    if isinstance(recipe.get("base"), dict):
        return f"{format_features_name(recipe['base'])}+{module}"
    return module + str(recipe.get("num_bins", recipe.get("params", {}).get("num_feats", "")))
