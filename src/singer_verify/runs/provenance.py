"""Provenance of a model, as recorded by its checkpoint and its run folder."""

import hashlib
import importlib.metadata
import json
import shlex
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from singer_verify.errors import SingerVerifyError
from singer_verify.runs.checkpoints import Checkpoint
from singer_verify.runs.folder import METRICS_FILENAME, RUN_FILENAME, find_run_folder, read_git_commit
from singer_verify.runs.model_metadata import ModelMetadata
from singer_verify.runs.tree import format_corpus_name, format_features_name, read_run_tree


def compute_file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Provenance:
    """Origin of a model.

    Attributes:
        checkpoint: path of its file.
        fingerprint: identity of the model.
        metadata: content of its checkpoint besides weights.
        step: training step of the weights; None where it is not recorded.
        run: folder of the run that wrote it; None where the file lies in none.
        settings: configuration of the training; `{}` where it is not recorded.
        record: the run's `run.json`; `{}` where there is none.
        metrics: the run's `metrics.json`; `{}` where there is none.
        ancestors: runs whose weights it goes back to, nearest first: name of the folder, and step.
    """

    checkpoint: Path
    fingerprint: str
    metadata: ModelMetadata
    step: int | None
    run: Path | None
    settings: dict[str, Any]
    record: dict[str, Any]
    metrics: dict[str, Any]
    ancestors: tuple[tuple[str, int], ...]

    @property
    def validation(self) -> dict[str, Any]:
        """Validation metrics of exactly these weights; `{}` where the run has none for this step."""
        candidates = [self.metrics.get(stage) or {} for stage in ("best", "final", "untrained")]
        return next((metrics for metrics in candidates if metrics and metrics["step"] == self.step), {})


def read_provenance(checkpoint: Checkpoint) -> Provenance:
    """Collect what a checkpoint and its run folder record.

    Raises:
        SingerVerifyError: a file of the run cannot be read.
    """
    run = find_run_folder(checkpoint.path)
    record = _read_json_record(run / RUN_FILENAME) if run else {}
    return Provenance(
        checkpoint=checkpoint.path,
        fingerprint=checkpoint.fingerprint,
        metadata=checkpoint.metadata,
        step=checkpoint.step,
        run=run,
        settings=checkpoint.settings or (_read_yaml_record(run / "config.yaml") if run else {}),
        record=record,
        metrics=_read_json_record(run / METRICS_FILENAME) if run else {},
        ancestors=_find_ancestors(run, record) if run else (),
    )


def format_model_provenance(checkpoint: Checkpoint) -> str:
    """Format what a model is in one line: name, features, encoder, loss, corpus, step, fingerprint."""
    metadata, settings = checkpoint.metadata, checkpoint.settings or {}
    terms = (settings.get("loss") or {}).get("terms")
    corpus = format_corpus_name((settings.get("data") or {}).get("root"))
    parts = [
        format_features_name(metadata.recipe),
        metadata.encoder["_target_"].rpartition(".")[2],
        f"loss {'+'.join(terms)}" if terms else None,
        f"trained on {corpus}" if corpus else None,
        None if checkpoint.step is None else f"step {checkpoint.step}",
        f"fingerprint {checkpoint.fingerprint[:12]}",
    ]
    return f"Model {checkpoint.model_path.resolve().name}: {', '.join(part for part in parts if part)}."


def format_provenance(checkpoint: Checkpoint | None) -> str:
    """Format a line for the model, unless there is none, and one for the command."""
    model = [] if checkpoint is None else [format_model_provenance(checkpoint)]
    return "\n".join([*model, format_command_provenance()])


def format_runs_provenance(folder: Path) -> str:
    """Format what the runs below a folder were trained with in one line: corpora, features, encoders, losses."""
    runs = read_run_tree(folder)
    named = {
        "corpus": {run.corpus for run in runs},
        "features": {run.features for run in runs},
        "encoder": {run.encoder for run in runs},
        "loss": {run.loss for run in runs},
    }
    parts = [f"{what} {', '.join(sorted(filter(None, values)))}" for what, values in named.items() if any(values)]
    return f"Runs in {folder.resolve().name}: {'; '.join(parts)}."


def format_command_provenance() -> str:
    """Format in one line when, by which version and by which command something was made."""
    commit = read_git_commit()
    version = importlib.metadata.version("singer_verify") + (f" ({commit[:9]})" if commit else "")
    typed = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    command = typed.encode("utf-8", "replace").decode("utf-8")  # names of files may be no text
    return f"Made {datetime.now().astimezone():%Y-%m-%d %H:%M} by singer_verify {version}: {command}"


def _find_ancestors(run: Path, record: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    ancestors: list[tuple[str, int]] = []
    visited = {run.resolve()}
    while parent := record.get("parent"):
        checkpoint = (run / parent["checkpoint"]).resolve()
        parent_run = find_run_folder(checkpoint)
        ancestors.append(((parent_run or checkpoint).name, parent["step"]))
        if parent_run is None or parent_run.resolve() in visited:
            break
        visited.add(parent_run.resolve())
        run, record = parent_run, _read_json_record(parent_run / RUN_FILENAME)
    return tuple(ancestors)


def _read_json_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise SingerVerifyError(f"{path}: not a record of a run ({error}); restore it or delete it.") from error


def _read_yaml_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValueError, TypeError) as error:
        raise SingerVerifyError(f"{path}: not a record of a run ({error}); restore it or delete it.") from error
