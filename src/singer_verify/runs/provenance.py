"""How a model came about, as far as its checkpoint and the folder of its run tell."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from singer_verify.errors import SingerVerifyError
from singer_verify.runs.checkpoints import compute_fingerprint, find_checkpoint, read_checkpoint
from singer_verify.runs.folder import METRICS_FILENAME, RUN_FILENAME, find_run_folder
from singer_verify.runs.model_metadata import METADATA_KEY

SETTINGS_KEY = "singer_verify_settings"  # `runs.continuation`, which is not imported here: Lightning takes seconds


@dataclass(frozen=True)
class Provenance:
    """
    Attributes:
        checkpoint: its path.
        fingerprint: by which the model is known again.
        card: what it carries, see `model_metadata.build_model_metadata`.
        step: of the training; None where it does not say.
        run: the folder of the run that wrote it; None where it lies in none.
        settings: of the training, `{}` where they are not recorded.
        record: of the run (`run.json`), `{}` where there is none.
        metrics: of the run (`metrics.json`), `{}` where there are none.
        ancestors: runs whose weights it goes back to, the nearest first: names of their folders, and the step.
    """

    checkpoint: Path
    fingerprint: str
    card: dict[str, Any]
    step: int | None
    run: Path | None
    settings: dict[str, Any]
    record: dict[str, Any]
    metrics: dict[str, Any]
    ancestors: tuple[tuple[str, int], ...]

    @property
    def validation(self) -> dict[str, Any]:
        """The validation of these very weights; `{}` where the run has none of this step."""
        candidates = [self.metrics.get(which) or {} for which in ("best", "final", "untrained")]
        return next((figures for figures in candidates if figures and figures["step"] == self.step), {})


def read_provenance(model: Path) -> Provenance:
    """
    Args:
        model: a run folder (its best checkpoint), a `.ckpt` or a `saved_model.pt`.

    Raises:
        SingerVerifyError: not a model of ours, or a record of its run that cannot be read.
    """
    path = find_checkpoint(model)
    checkpoint, run = read_checkpoint(path), find_run_folder(path)
    record = _read_json_record(run / RUN_FILENAME) if run else {}
    settings = checkpoint.get(SETTINGS_KEY) or (_read_yaml_record(run / "config.yaml") if run else {})
    return Provenance(
        checkpoint=path,
        fingerprint=compute_fingerprint(checkpoint),
        card=checkpoint[METADATA_KEY],
        step=checkpoint.get("global_step", checkpoint.get("step")),
        run=run,
        settings=settings,
        record=record,
        metrics=_read_json_record(run / METRICS_FILENAME) if run else {},
        ancestors=_find_ancestors(run, record) if run else (),
    )


def _find_ancestors(run: Path, record: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    found: list[tuple[str, int]] = []
    seen = {run.resolve()}
    while parent := record.get("parent"):
        checkpoint = (run / parent["checkpoint"]).resolve()
        around = find_run_folder(checkpoint)
        found.append(((around or checkpoint).name, parent["step"]))
        if around is None or around.resolve() in seen:
            break
        seen.add(around.resolve())
        run, record = around, _read_json_record(around / RUN_FILENAME)
    return tuple(found)


def _read_json_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise SingerVerifyError(f"{path}: is no record of a run ({error}); restore it or delete it.") from error


def _read_yaml_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValueError, TypeError) as error:
        raise SingerVerifyError(f"{path}: is no record of a run ({error}); restore it or delete it.") from error
