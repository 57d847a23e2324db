"""Hydra's callback for sweeps: writes the plan at the start, and prints the progress after each job."""

import itertools
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from rich.console import Console

import singer_verify.training.composition  # noqa: F401  a worker process unpickles this callback before it composes a job
from singer_verify.errors import SingerVerifyError
from singer_verify.runs.folder import identify_process, require_creatable_folder
from singer_verify.runs.tree import read_run_metrics
from singer_verify.safe_loading import format_trust_options
from singer_verify.sweeps.jobs import (
    JobError,
    SweepPlan,
    build_job_names,
    find_sweep_folder,
    is_job_finished,
    name_job,
    read_sweep_plan,
    write_sweep_plan,
)
from singer_verify.sweeps.progress import format_sweep_status, read_sweep_status


class SweepProgress(Callback):
    """Write a sweep's plan when it starts, and print its progress after each job."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        try:
            _write_plan(config)
        except SingerVerifyError as error:
            sys.exit(f"error: {error}")  # Hydra turns any other exception of a callback into a warning

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if config.hydra.mode != RunMode.MULTIRUN:
            return
        if job_return.status == JobStatus.FAILED:
            job_return.__class__ = ReportedFailure  # written for Hydra 1.3, see there
        sweep, job = Path(config.hydra.sweep.dir), Path(config.hydra.runtime.output_dir)
        if not (is_job_finished(job) and _has_ended_before(job, read_sweep_plan(sweep).started)):
            print_to_stderr(f"Sweep {sweep}: {format_sweep_status(read_sweep_status(sweep))}.")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        sweep = Path(config.hydra.sweep.dir)
        status = read_sweep_status(sweep)
        print_to_stderr(f"Sweep {sweep} has ended: {format_sweep_status(status)}.")
        if status.num_finished:
            print_to_stderr(f"compare its runs  {format_leaderboard_command(sweep, config.get('trust'))}")


def format_leaderboard_command(sweep: Path, trusted: str | Sequence[str] | None) -> str:
    """Format the command that compares the runs of a sweep.

    Args:
        sweep: its folder.
        trusted: packages that the sweep's configuration trusts.
    """
    packages = [trusted] if isinstance(trusted, str) else trusted or []
    return f"singer-verify leaderboard {shlex.quote(str(sweep))}{format_trust_options(packages)}"


class ReportedFailure(JobReturn):
    """The outcome of a job that failed, without the line that Hydra would write before the report of it.

    Hydra 1.3's `JobReturn.return_value` writes that line before it raises what its private `_return_value` holds.
    """

    @property  # type: ignore[misc]
    def return_value(self) -> Any:
        raise self._return_value


def _write_plan(config: DictConfig) -> None:
    """Write the plan of a sweep into its folder.

    Raises:
        SingerVerifyError: the folder of the sweep or of a job cannot be used.
    """
    unnamed = _find_excluded_keys(config)
    with read_write(config), open_dict(config):  # jobs are composed with the same overrides of Hydra's settings
        config.hydra.overrides.hydra.append(f"hydra.job.config.override_dirname.exclude_keys={unnamed}")
    jobs = _list_job_names(config, unnamed)
    num_jobs = len(jobs) if jobs is not None else OmegaConf.select(config, "hydra.sweeper.n_trials")
    plan = SweepPlan(jobs, num_jobs, _count_parallel_jobs(config, num_jobs), time.time(), identify_process())
    sweep = Path(config.hydra.sweep.dir)
    for folder in (sweep, *(sweep / name for name in jobs or [])):
        require_creatable_folder(folder)
    write_sweep_plan(sweep, plan)


@contextmanager
def report_failed_jobs() -> Iterator[None]:
    """Report which jobs of a sweep failed, and why, once it has ended.

    Raises:
        SingerVerifyError: some jobs failed.
    """
    try:
        yield
    except JobError as failure:
        if (sweep := find_sweep_folder(failure.job.absolute())) is None:
            raise
        progress = read_sweep_status(sweep)
        jobs_by_reason: dict[str, list[str]] = {}
        for name, reason in progress.failed.items():
            jobs_by_reason.setdefault(reason, []).append(name)
        for reason, names in jobs_by_reason.items():
            print_to_stderr(f"failed: {', '.join(names)}: {reason}")
        raise SingerVerifyError(
            f"{os.path.relpath(sweep)}: {format_sweep_status(progress)}; the same command tries again what failed and "
            f"finishes what is missing. {'' if name_job(sweep, failure.job) in progress.failed else failure}"
        ) from failure


def print_to_stderr(line: str) -> None:
    Console(stderr=True, soft_wrap=True).print(line, markup=False, highlight=False)


def _parse_sweep_overrides(config: DictConfig) -> list[Override]:
    """Return the overrides of the sweep's yaml and of the command line, in that order."""
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    return parser.parse_overrides([*params, *config.hydra.overrides.task])


def _find_excluded_keys(config: DictConfig) -> list[str]:
    """Return the keys that have one value for all jobs; they are left out of the names of their folders."""
    typed = {override.key_or_group: override for override in _parse_sweep_overrides(config)}
    named = {*config.hydra.runtime.choices, *(config.hydra.sweeper.get("params") or {})} - {"experiment"}
    excluded = set(config.hydra.job.config.override_dirname.exclude_keys)
    alike = {key for key, override in typed.items() if key not in named and not override.is_sweep_override()}
    return sorted(excluded | alike) if alike - excluded != typed.keys() - excluded else sorted(excluded)


def _list_job_names(config: DictConfig, unnamed: list[str]) -> list[str] | None:
    """Return the folders of the jobs of Hydra's own sweeper; None for sweepers that choose jobs as they go.

    Raises:
        SingerVerifyError: `hydra.sweep.subdir` leads out of the sweep, or gives two jobs the same folder.
    """
    if not config.hydra.sweeper._target_.endswith(".BasicSweeper"):
        return None
    choices = {
        override.get_key_element(): (
            list(override.sweep_string_iterator())
            if override.is_sweep_override()
            else [override.get_value_element_as_str()]
        )
        for override in _parse_sweep_overrides(config)
    }
    jobs = list(itertools.product(*([f"{key}={value}" for value in values] for key, values in choices.items())))
    if "override_dirname" in _get_subdir_setting(config):
        names = build_job_names(choices, unnamed)
    else:
        names = _compose_job_names(config, jobs)
    first_by_name: dict[str, tuple[str, ...]] = {}
    for name, job in zip(names, jobs, strict=True):
        if not Path(name).parts or Path(name).is_absolute() or ".." in Path(name).parts:
            raise SingerVerifyError(f"hydra.sweep.subdir={name}: expected a folder inside that of the sweep.")
        other = first_by_name.setdefault(name, job)
        if differing := [override for override in job if override not in other]:
            raise SingerVerifyError(
                f"hydra.sweep.subdir={_get_subdir_setting(config)}: gives several jobs the folder {name}, among them "
                f"{' '.join(override for override in other if override not in job)} and {' '.join(differing)}; "
                f"expected a folder for each job: leave it out, or use ${{hydra.job.num}}."
            )
    return names


def _get_subdir_setting(config: DictConfig) -> str:
    return str(OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"])  # type: ignore[call-overload,index]


def _compose_job_names(config: DictConfig, jobs: list[tuple[str, ...]]) -> list[str]:
    """Compute `hydra.sweep.subdir` of every job as Hydra's launcher will: from the job's configuration and number."""
    loader, outer, names = GlobalHydra.instance().config_loader(), HydraConfig.instance().cfg, []
    try:
        for number, overrides in enumerate(jobs):
            job = loader.load_sweep_config(config, list(overrides))
            with open_dict(job):
                job.hydra.job.id, job.hydra.job.num = str(number), number
            HydraConfig.instance().set_config(job)
            names.append(os.path.normpath(str(job.hydra.sweep.subdir)))
    finally:
        HydraConfig.instance().cfg = outer
    return names


def _count_parallel_jobs(config: DictConfig, num_jobs: int | None) -> int:
    """Return the number of jobs that the launcher runs at a time.

    Raises:
        SingerVerifyError: it is 0.
    """
    launcher = config.hydra.launcher
    if "n_jobs" in launcher:
        if not isinstance(launcher.n_jobs, int) or launcher.n_jobs == 0:
            raise SingerVerifyError(
                f"hydra.launcher.n_jobs={launcher.n_jobs}: expected the number of jobs at a time, or -1 for one on "
                f"each core."
            )
        cores = os.cpu_count() or 1
        at_a_time: int | None = launcher.n_jobs if launcher.n_jobs > 0 else max(cores + 1 + launcher.n_jobs, 1)
    else:
        at_a_time = launcher.get("array_parallelism") or (num_jobs if "submitit_folder" in launcher else 1)
    return max(min(at_a_time or 1, num_jobs or at_a_time or 1), 1)


def _has_ended_before(job: Path, time_s: float) -> bool:
    metrics = read_run_metrics(job)
    return metrics is not None and (job / "metrics.json").stat().st_mtime < time_s
