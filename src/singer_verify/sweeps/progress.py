"""The progress of a sweep, read from its folders: jobs done, running, failed and pending, and the time left."""

from dataclasses import dataclass
from pathlib import Path

from singer_verify.runs.folder import FAILURE_FILENAME, RUN_FILENAME
from singer_verify.runs.tree import FINISHED_STATUSES, read_failure_reason, read_run_metrics, read_run_status
from singer_verify.sweeps.jobs import name_job, read_sweep_plan


@dataclass(frozen=True)
class SweepStatus:
    """Numbers of jobs of a sweep by status, and the time that the remaining ones will take.

    Attributes:
        num_finished: number of jobs that have finished.
        num_running: number of jobs that a process trains now.
        failed: reason of every job that failed, by the name of its folder.
        num_pending: number of jobs that were stopped or have not begun; None where the number of jobs is not known.
        seconds_left: estimated from the jobs that have finished; None before the first has.
    """

    num_finished: int
    num_running: int
    failed: dict[str, str]
    num_pending: int | None
    seconds_left: float | None


def read_sweep_status(sweep: Path) -> SweepStatus:
    """Read the progress of a sweep.

    Raises:
        SingerVerifyError: not the folder of a sweep.
    """
    plan = read_sweep_plan(sweep)
    jobs = [sweep / name for name in plan.jobs] if plan.jobs is not None else _find_job_folders(sweep)
    status = {job: read_run_status(job) for job in jobs}
    finished = [job for job in jobs if status[job] in FINISHED_STATUSES]
    failed = {name_job(sweep, job): read_failure_reason(job) for job in jobs if status[job] == "failed"}
    num_running = sum(state == "running" for state in status.values())
    num_jobs = plan.num_jobs
    num_to_go = None if num_jobs is None else max(num_jobs - len(finished) - len(failed) - num_running, 0)
    seconds = [figures["seconds"] for job in finished if (figures := read_run_metrics(job))]
    seconds_left = None
    if seconds and num_to_go is not None:
        seconds_left = sum(seconds) / len(seconds) * (num_to_go + num_running) / plan.num_parallel
    return SweepStatus(len(finished), num_running, failed, num_to_go, seconds_left)


def format_sweep_status(progress: SweepStatus) -> str:
    """Format progress in one line, for instance: 5 done, 1 running, 1 failed, 9 to go, about 12 min left."""
    counts = {
        "done": progress.num_finished,
        "running": progress.num_running,
        "failed": len(progress.failed),
        "to go": progress.num_pending,
    }
    parts = [f"{count} {word}" for word, count in counts.items() if count or word == "done"]
    if progress.seconds_left:
        parts.append(f"about {_format_time_left(progress.seconds_left)} left")
    return ", ".join(parts)


def _format_time_left(seconds: float) -> str:
    for unit, length_s in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(seconds, 1.0):.0f} s"


def _find_job_folders(sweep: Path) -> list[Path]:
    """Find the folders of jobs, at any depth, but no run inside that of a job."""
    jobs: list[Path] = []
    for folder in sorted(folder for folder in sweep.iterdir() if folder.is_dir()):
        is_job = any((folder / name).is_file() for name in (RUN_FILENAME, FAILURE_FILENAME))
        jobs += [folder] if is_job else _find_job_folders(folder)
    return jobs
