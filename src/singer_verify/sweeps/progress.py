"""How far a sweep is: jobs done, running, failed and to go, and a forecast; read off its folders."""

from dataclasses import dataclass
from pathlib import Path

from singer_verify.runs.folder import FAILURE_FILENAME, RUN_FILENAME
from singer_verify.runs.tree import FINISHED_STATUSES, read_run_metrics, read_run_status
from singer_verify.sweeps.jobs import read_failure_reason
from singer_verify.sweeps.plan import read_sweep_plan


@dataclass(frozen=True)
class SweepStatus:
    """How many jobs of a sweep have finished, run, failed or are still to run.

    Attributes:
        num_finished: jobs that trained to their end.
        num_running: jobs that a process trains now.
        failed: by the name of its folder, the reason of every job that failed.
        num_pending: jobs that were stopped or never begun; None where nobody knows how many there will be.
        seconds_left: of the whole sweep, estimated from the jobs that have finished; None before the first has.
    """

    num_finished: int
    num_running: int
    failed: dict[str, str]
    num_pending: int | None
    seconds_left: float | None


def read_sweep_status(sweep: Path) -> SweepStatus:
    """Read how far a sweep is from the folders of its jobs.

    Raises:
        SingerVerifyError: not the folder of a sweep.
    """
    plan = read_sweep_plan(sweep)
    jobs = [sweep / name for name in plan.jobs] if plan.jobs is not None else _find_job_folders(sweep)
    status = {job: read_run_status(job) for job in jobs}
    finished = [job for job in jobs if status[job] in FINISHED_STATUSES]
    failed = {job.name: read_failure_reason(job) for job in jobs if status[job] == "failed"}
    num_running = sum(each == "running" for each in status.values())
    num_jobs = plan.num_jobs
    num_to_go = None if num_jobs is None else max(num_jobs - len(finished) - len(failed) - num_running, 0)
    seconds = [figures["seconds"] for job in finished if (figures := read_run_metrics(job))]
    seconds_left = None
    if seconds and num_to_go is not None:
        seconds_left = sum(seconds) / len(seconds) * (num_to_go + num_running) / plan.num_parallel
    return SweepStatus(len(finished), num_running, failed, num_to_go, seconds_left)


def format_sweep_status(progress: SweepStatus) -> str:
    """For instance: 5 done, 1 running, 1 failed, 9 to go, about 12 min left."""
    counts = {
        "done": progress.num_finished,
        "running": progress.num_running,
        "failed": len(progress.failed),
        "to go": progress.num_pending,
    }
    said = [f"{count} {word}" for word, count in counts.items() if count or word == "done"]
    if progress.seconds_left:
        said.append(f"about {_format_time_left(progress.seconds_left)} left")
    return ", ".join(said)


def _format_time_left(seconds: float) -> str:
    for unit, length_s in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(seconds, 1.0):.0f} s"


def _find_job_folders(sweep: Path) -> list[Path]:
    folders = (folder for folder in sorted(sweep.iterdir()) if folder.is_dir())
    return [folder for folder in folders if any((folder / name).is_file() for name in (RUN_FILENAME, FAILURE_FILENAME))]
