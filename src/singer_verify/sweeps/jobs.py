"""A job of a sweep: not trained again where it finished, continued where it was stopped, its failure recorded."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from singer_verify.errors import SingerVerifyError
from singer_verify.runs.checkpoints import BEST_CHECKPOINT, LAST_CHECKPOINT, read_checkpoint
from singer_verify.runs.folder import FAILURE_FILENAME, RUN_FILENAME, identify_process, write_json
from singer_verify.runs.settings import (
    RESULT_NEUTRAL_SETTINGS,
    SETTINGS_KEY,
    find_setting_differences,
    format_setting_differences,
)
from singer_verify.runs.tree import FINISHED_STATUSES, read_run_metrics, read_run_status
from singer_verify.sweeps.plan import find_sweep_folder, read_sweep_plan

log = logging.getLogger(__name__)


class JobError(SingerVerifyError):
    """A job of a sweep did not get to its end; the others go on.

    Args:
        job: its folder.
        reason: in one sentence.
    """

    def __init__(self, job: Path, reason: str) -> None:
        super().__init__(job, reason)
        self.job = job

    def __str__(self) -> str:
        return "{}: {}".format(*self.args)


def run_job(
    job: Path,
    settings: dict[str, Any],
    train: Callable[[str | None], object],
    sentence: Callable[[BaseException], str],
) -> float | None:
    """Train a job if it has not finished; returns its best value of the monitored metric.

    Args:
        job: its folder.
        settings: of its training, as plain values.
        train: begins it, or continues it from a checkpoint.
        sentence: says an error in words.

    Raises:
        JobError: it went wrong, another process trains it, or it was interrupted in a process that works for others.
        KeyboardInterrupt: it was interrupted in the process that leads the sweep.
    """
    try:
        _require_one_device(settings)
        _require_unchanged_settings(job, settings)
    except SingerVerifyError as error:  # not recorded: what is wrong is the call, not the job
        raise JobError(job, str(error)) from error
    if not is_job_finished(job):
        with lock_job(job, sentence):
            train(_find_resume_checkpoint(job))
        if not is_job_finished(job):
            raise KeyboardInterrupt if is_sweep_leader(job) else JobError(job, "was interrupted.")
    return _read_best_value(job, settings["monitor"])


@contextmanager
def lock_job(job: Path, sentence: Callable[[BaseException], str]) -> Iterator[None]:
    """Hold a job, so that no other process trains it; what goes wrong within is recorded in its folder.

    Raises:
        JobError: something did, or another process trains the job.
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
        is_ours = isinstance(error, SingerVerifyError)
        reason = sentence(error) if is_ours else f"{type(error).__name__}: {sentence(error)}"
        log.error("This job failed: %s", reason, exc_info=None if is_ours else error)
        write_json(job / FAILURE_FILENAME, {"reason": reason})
        raise JobError(job, reason) from error
    finally:
        lock.release()


def read_failure_reason(job: Path) -> str:
    """Why a job failed."""
    try:
        return str(json.loads((job / FAILURE_FILENAME).read_text(encoding="utf-8"))["reason"])
    except (OSError, ValueError, LookupError, TypeError):
        return f"{FAILURE_FILENAME} cannot be read."


def is_job_finished(job: Path) -> bool:
    return read_run_status(job) in FINISHED_STATUSES


def _read_best_value(job: Path, monitor: str) -> float | None:
    """The best value of the monitored metric of a job that finished."""
    metrics = read_run_metrics(job)
    return metrics["best"][monitor] if metrics and metrics["best"] else None


def _require_one_device(settings: dict[str, Any]) -> None:
    """Refuse settings that a job of a sweep cannot have.

    Raises:
        SingerVerifyError: the settings ask for several devices for one training, or for another run to go on.
    """
    if "strategy" in settings["trainer"]:
        raise SingerVerifyError(
            "trainer=ddp: a sweep trains each model on one device; leave it out, and run several jobs at a time with "
            "hydra/launcher=joblib."
        )
    if settings["resume"] is not None:
        raise SingerVerifyError(
            f"resume={settings['resume']}: continues a single run; a sweep continues by itself when it is called again."
        )


def _require_unchanged_settings(job: Path, now: dict[str, Any]) -> None:
    """Refuse to take up a job that was begun with other settings: it would be compared with those of the others.

    Raises:
        SingerVerifyError: naming what differs.
    """
    begun = next(
        (job / name for name in (LAST_CHECKPOINT, BEST_CHECKPOINT) if (job / name).is_file()), None
    )  # nothing to train: best alone
    if begun is None:
        return
    then = read_checkpoint(begun)[SETTINGS_KEY]
    if differing := find_setting_differences(then, now | {"corpus": then["corpus"]}, but=RESULT_NEUTRAL_SETTINGS):
        raise SingerVerifyError(
            f"{format_setting_differences(differing)}: this job was begun with other settings; set them as they were, "
            f"or give the sweep another name=."
        )


def _find_resume_checkpoint(job: Path) -> str | None:
    """Where a job goes on; None where it begins, or begins again because it was stopped before its first checkpoint."""
    if not (job / RUN_FILENAME).is_file():
        return None
    if (job / LAST_CHECKPOINT).is_file():
        return str(job / LAST_CHECKPOINT)
    (job / RUN_FILENAME).unlink()
    return None


def is_sweep_leader(job: Path) -> bool:
    """Whether this process leads the job's sweep, rather than working for it; so, too, where there is no sweep."""
    sweep = find_sweep_folder(job)
    return sweep is None or read_sweep_plan(sweep).process == identify_process()
