"""The plan of a sweep: which jobs it consists of, how many run at a time, and which process leads it."""

import itertools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from singer_verify.errors import SingerVerifyError
from singer_verify.runs.folder import write_json
from singer_verify.training.composition import build_job_folder_name

PLAN_FILENAME = "sweep.json"


@dataclass(frozen=True)
class SweepPlan:
    """The jobs of a sweep, how many run at a time, and which process leads it.

    Attributes:
        jobs: names of the jobs' folders; None where they are found out as the sweep goes.
        num_jobs: how many there will be; None where that is not known.
        num_parallel: how many run at a time.
        started: when the sweep was called, in seconds since 1970.
        process: that leads the sweep.
    """

    jobs: list[str] | None
    num_jobs: int | None
    num_parallel: int
    started: float
    process: dict[str, Any]


def write_sweep_plan(folder: Path, plan: SweepPlan) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / PLAN_FILENAME, asdict(plan))


def read_sweep_plan(folder: Path) -> SweepPlan:
    """Read a sweep's plan.

    Raises:
        SingerVerifyError: not the folder of a sweep, or its plan is damaged.
    """
    try:
        return SweepPlan(**json.loads((folder / PLAN_FILENAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise SingerVerifyError(f"{folder}: has no readable {PLAN_FILENAME}; give the folder of a sweep.") from error


def find_sweep_folder(job: Path) -> Path | None:
    """The folder of the sweep that a job's folder lies in."""
    return next((folder for folder in job.parents if (folder / PLAN_FILENAME).is_file()), None)


def build_job_names(choices: dict[str, list[str]], excluded: Iterable[str]) -> list[str]:
    """Folders of all combinations of choices, as `hydra.sweep.subdir` names them.

    Args:
        choices: by what is set, with its pluses, what it is set to.
        excluded: what is left out of the names.
    """
    named = {key: values for key, values in choices.items() if key.lstrip("+~") not in excluded}
    combinations = itertools.product(*([f"{key}={value}" for value in values] for key, values in named.items()))
    return [build_job_folder_name(",".join(sorted(combination))) for combination in combinations]
