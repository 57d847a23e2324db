"""The jobs of a sweep: planned, run, skipped where finished, continued where stopped, recorded where failed."""

import itertools
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from singer_verify.errors import SingerVerifyError
from singer_verify.runs.folder import (
    BEST_CHECKPOINT,
    FAILURE_FILENAME,
    LAST_CHECKPOINT,
    RUN_FILENAME,
    SWEEP_PLAN_FILENAME,
    identify_process,
    write_json,
)
from singer_verify.runs.settings import (
    RESULT_NEUTRAL_SETTINGS,
    SETTINGS_KEY,
    find_setting_differences,
    format_refused_settings,
)
from singer_verify.runs.tree import FINISHED_STATUSES, read_run_metrics, read_run_status
from singer_verify.training.composition import build_job_folder_name

log = logging.getLogger(__name__)


class JobError(SingerVerifyError):
    """A job of a sweep that did not finish; the other jobs go on.

    Args:
        job: folder of the job.
        reason: one sentence.
    """

    def __init__(self, job: Path, reason: str) -> None:
        super().__init__(job, reason)
        self.job = job

    def __str__(self) -> str:
        return "{}: {}".format(*self.args)


def run_job(
    job: Path,
    settings: dict[str, Any],
    train: Callable[[str | None], bool],
    sentence: Callable[[BaseException], str],
) -> float | None:
    """Train a job unless it has finished; return its best value of the monitored metric.

    Args:
        job: folder of the job.
        settings: settings of the training as plain values.
        train: starts the training, or continues it from a checkpoint; returns whether a signal asked it to end.
        sentence: function that turns an error into a sentence.

    Raises:
        JobError: the job failed, is being trained by another process, or was interrupted in a worker process.
        KeyboardInterrupt: it was asked to end in the process that leads the sweep.
    """
    try:
        _require_one_device(settings)
        _require_unchanged_settings(job, settings)
    except SingerVerifyError as error:  # not recorded: the call is wrong, not the job
        raise JobError(job, str(error)) from error
    if not is_job_finished(job):
        with lock_job(job, sentence):
            asked_to_end = train(_find_resume_checkpoint(job))
        if not is_job_finished(job):
            raise KeyboardInterrupt if is_sweep_leader(job) else JobError(job, "was interrupted.")
        if asked_to_end and is_sweep_leader(job):  # in its last step: it is done, the sweep is not
            raise KeyboardInterrupt
    return _read_best_value(job, settings["monitor"])


@contextmanager
def lock_job(job: Path, sentence: Callable[[BaseException], str]) -> Iterator[None]:
    """Lock a job against other processes, and record an error raised within in its folder.

    Raises:
        JobError: an error was raised within, or another process holds the job.
    """
    lock = FileLock(job / "job.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise JobError(job, "is being trained by another process; call again when it has ended.") from None
    try:
        (job / FAILURE_FILENAME).unlink(missing_ok=True)
        yield
    except Exception as error:
        is_user_error = isinstance(error, SingerVerifyError)
        reason = sentence(error) if is_user_error else f"{type(error).__name__}: {sentence(error)}"
        log.error("This job failed: %s", reason, exc_info=None if is_user_error else error)
        write_json(job / FAILURE_FILENAME, {"reason": reason})
        raise JobError(job, reason) from error
    finally:
        lock.release()


def is_job_finished(job: Path) -> bool:
    return read_run_status(job) in FINISHED_STATUSES


def _read_best_value(job: Path, monitor: str) -> float | None:
    """Return the best value of the monitored metric of a job that has finished."""
    metrics = read_run_metrics(job)
    return metrics["best"][monitor] if metrics and metrics["best"] else None


def _require_one_device(settings: dict[str, Any]) -> None:
    """Refuse settings that a job of a sweep cannot have.

    Raises:
        SingerVerifyError: they ask for several devices for one training, or to resume another run.
    """
    devices = settings["trainer"].get("devices", 1)
    has_several = isinstance(devices, int) and devices > 1
    if "strategy" in settings["trainer"] or has_several:
        raise SingerVerifyError(
            f"{f'trainer.devices={devices}' if has_several else 'trainer=ddp'}: a sweep trains each model on one "
            f"device; leave it out, and run several jobs at a time with hydra/launcher=joblib."
        )
    if settings["resume"] is not None:
        raise SingerVerifyError(
            f"resume={settings['resume']}: continues a single run; a sweep continues by itself when it is called again."
        )


def _require_unchanged_settings(job: Path, now: dict[str, Any]) -> None:
    """Refuse to continue a job that began with other settings than the rest of its sweep.

    Raises:
        SingerVerifyError: naming what differs.
    """
    begun = next(
        (job / name for name in (LAST_CHECKPOINT, BEST_CHECKPOINT) if (job / name).is_file()), None
    )  # nothing to train: best alone
    if begun is None:
        return
    from singer_verify.runs.checkpoints import read_checkpoint  # loads torch, which a sweep's --help does not need

    then = read_checkpoint(begun)[SETTINGS_KEY]
    if differing := find_setting_differences(then, now | {"corpus": then["corpus"]}, but=RESULT_NEUTRAL_SETTINGS):
        raise SingerVerifyError(
            format_refused_settings(
                differing,
                "this job was begun with other settings; set them as they were, or give the sweep another name=.",
            )
        )


def _find_resume_checkpoint(job: Path) -> str | None:
    """Return the checkpoint a job continues from; None where it starts, or was stopped before its first one."""
    if not (job / RUN_FILENAME).is_file():
        return None
    if (job / LAST_CHECKPOINT).is_file():
        return str(job / LAST_CHECKPOINT)
    (job / RUN_FILENAME).unlink()
    return None


def is_sweep_leader(job: Path) -> bool:
    """Return whether this process leads the job's sweep; also true where there is no sweep."""
    sweep = find_sweep_folder(job)
    return sweep is None or read_sweep_plan(sweep).process == identify_process()


@dataclass(frozen=True)
class SweepPlan:
    """Plan of a sweep, stored as sweep.json in its folder.

    Attributes:
        jobs: names of the jobs' folders; None where the sweeper chooses jobs as it goes.
        num_jobs: number of jobs; None where it is not known in advance.
        num_parallel: number of jobs that run at a time.
        started: time when the sweep was called, in seconds since 1970.
        process: process that leads the sweep, see `runs.folder.identify_process`.
    """

    jobs: list[str] | None
    num_jobs: int | None
    num_parallel: int
    started: float
    process: dict[str, Any]


def write_sweep_plan(folder: Path, plan: SweepPlan) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SWEEP_PLAN_FILENAME, asdict(plan))


def read_sweep_plan(folder: Path) -> SweepPlan:
    """Read the plan in a sweep's folder.

    Raises:
        SingerVerifyError: not the folder of a sweep, or its plan is damaged.
    """
    try:
        return SweepPlan(**json.loads((folder / SWEEP_PLAN_FILENAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise SingerVerifyError(
            f"{folder}: has no readable {SWEEP_PLAN_FILENAME}; give the folder of a sweep."
        ) from error


def find_sweep_folder(job: Path) -> Path | None:
    """Return the folder of the sweep that contains a job's folder; None where there is none."""
    return next((folder for folder in job.parents if (folder / SWEEP_PLAN_FILENAME).is_file()), None)


def name_job(sweep: Path, job: Path) -> str:
    """Return the folder of a job relative to that of its sweep."""
    return Path(os.path.relpath(job, sweep)).as_posix()


def build_job_names(choices: dict[str, list[str]], excluded: Iterable[str]) -> list[str]:
    """Name the folders of all combinations of choices, as `hydra.sweep.subdir` does.

    Args:
        choices: values of each key; a key has its leading pluses.
        excluded: keys that are left out of the names.
    """
    named = {key: values for key, values in choices.items() if key.lstrip("+~") not in excluded}
    combinations = itertools.product(*([f"{key}={value}" for value in values] for key, values in named.items()))
    return [build_job_folder_name(",".join(sorted(combination))) for combination in combinations]
