"""The plan of a sweep: its jobs, how many run at a time, and the process that leads it."""

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
    """What a sweep consists of; sweep.json in its folder holds it.

    Attributes:
        jobs: names of the jobs' folders; None where the sweeper chooses jobs as it goes.
        num_jobs: number of jobs; None where it is not known in advance.
        num_parallel: number of jobs that run at a time.
        started: when the sweep was called, in seconds since 1970.
        process: process that leads the sweep, see `runs.folder.identify_process`.
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
    """Read the plan in a sweep's folder.

    Raises:
        SingerVerifyError: not the folder of a sweep, or its plan is damaged.
    """
    try:
        return SweepPlan(**json.loads((folder / PLAN_FILENAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise SingerVerifyError(f"{folder}: has no readable {PLAN_FILENAME}; give the folder of a sweep.") from error


def find_sweep_folder(job: Path) -> Path | None:
    """Return the folder of the sweep that contains a job's folder; None where there is none."""
    return next((folder for folder in job.parents if (folder / PLAN_FILENAME).is_file()), None)


def build_job_names(choices: dict[str, list[str]], excluded: Iterable[str]) -> list[str]:
    """Name the folders of all combinations of choices, as `hydra.sweep.subdir` does.

    Args:
        choices: values of each key; a key has its leading pluses.
        excluded: keys that are left out of the names.
    """
    named = {key: values for key, values in choices.items() if key.lstrip("+~") not in excluded}
    combinations = itertools.product(*([f"{key}={value}" for value in values] for key, values in named.items()))
    return [build_job_folder_name(",".join(sorted(combination))) for combination in combinations]
