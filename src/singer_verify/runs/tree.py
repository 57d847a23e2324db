"""The runs below a folder: what each was trained with, what came out, and whose weights it began with."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from singer_verify.errors import SingerVerifyError
from singer_verify.runs.folder import FAILURE_NAME, METRICS_NAME, RUN_NAME
from singer_verify.runs.process import is_alive

STATUS_OF_STOPPED = {
    "step limit": "finished",
    "nothing to train": "finished",
    "no further improvement": "stopped early",
    "interrupted": "interrupted",
}
FINISHED = ("finished", "stopped early")  # statuses of runs that have all there is to get


@dataclass(frozen=True)
class RunSummary:
    """
    Attributes:
        path: of its folder, relative to the folder that was searched.
        parent: the run whose folder it lies in; None for a root.
        features: the recipe's class and bins.
        loss: its terms.
        steps: that were trained; None until the run has ended.
        best_eer: of its validations, between 0 and 1; None until the run has ended.
        status: running, finished (all steps), stopped early (no further improvement), interrupted, crashed, failed
            (a job of a sweep, with a reason), imported, unknown (begun on another machine and not ended), unreadable
            (damaged record).
    """

    path: str
    parent: str | None
    features: str | None = None
    loss: str | None = None
    steps: int | None = None
    best_eer: float | None = None
    status: str = "unreadable"


def runs_below(folder: Path) -> list[RunSummary]:
    """Every run in a folder and in its runs, parents before children, sorted by name.

    Raises:
        SingerVerifyError: no such folder.
    """
    if not folder.is_dir():
        raise SingerVerifyError(f"{folder}: no such folder; give the folder that holds the runs.")
    return list(_runs_below(folder, folder, None))


def _runs_below(folder: Path, top: Path, parent: str | None) -> Iterator[RunSummary]:
    if (folder / RUN_NAME).is_file() or (folder / FAILURE_NAME).is_file():
        parent, outer = folder.relative_to(top).as_posix(), parent
        yield summary_of(folder, parent, outer)
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _runs_below(Path(entry.path), top, parent)


def status_of(run: Path) -> str:
    """The status of a run, as in `RunSummary`; waiting, where the folder holds none yet."""
    if not (run / RUN_NAME).is_file():
        return "failed" if (run / FAILURE_NAME).is_file() else "waiting"
    try:
        return _status(run, json.loads((run / RUN_NAME).read_text(encoding="utf-8")), metrics_of(run))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "unreadable"


def summary_of(run: Path, path: str, parent: str | None) -> RunSummary:
    """What the files of a run say of it."""
    if not (run / RUN_NAME).is_file():
        return RunSummary(path, parent, status=status_of(run))
    try:
        record = json.loads((run / RUN_NAME).read_text(encoding="utf-8"))
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        metrics = metrics_of(run)
        imported = record.get("imported")
        return RunSummary(
            path=path,
            parent=parent,
            features=_features_name(config["features"]),
            loss="+".join(config["loss"]["terms"]) if "loss" in config else None,
            steps=metrics["steps"] if metrics else imported and imported["step"],
            best_eer=metrics["best"]["val/eer"] if metrics and metrics["best"] else None,
            status="imported" if imported else _status(run, record, metrics),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return RunSummary(path, parent)


def metrics_of(run: Path) -> dict[str, Any] | None:
    """What a run left when it ended; None where it has not."""
    path = run / METRICS_NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _status(run: Path, record: dict[str, Any], metrics: dict[str, Any] | None) -> str:
    """Ended, where its last process left figures behind; else whether that process still runs."""
    if (run / FAILURE_NAME).is_file():
        return "failed"
    process = [record, *record.get("continued", [])][-1]["process"]
    if metrics and (run / METRICS_NAME).stat().st_mtime >= process["began"]:
        return STATUS_OF_STOPPED[metrics["stopped"]]
    return {True: "running", False: "crashed", None: "unknown"}[is_alive(process)]


def _features_name(recipe: dict[str, Any]) -> str:
    """For instance mel40: a recipe's class and its number of bins, where that is a setting."""
    num_bins = recipe.get("num_bins", recipe.get("params", {}).get("num_feats", ""))
    return recipe["_target_"].rpartition(".")[2].lower() + str(num_bins)
