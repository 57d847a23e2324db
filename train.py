"""Train a singer verification network: compose the settings from conf/, train, report."""

import logging
import os
from pathlib import Path

from singer_verify.environment import set_torch_environment

set_torch_environment()  # before torch is loaded

# isort: split
import hydra
import rich
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from singer_verify.cli.console import (
    configure_logging,
    escape_undecodable_output,
    format_user_error,
    report_user_errors,
    silence_console,
    silence_library_warnings,
)
from singer_verify.sweeps.callback import report_failed_jobs
from singer_verify.sweeps.jobs import is_sweep_leader, lock_job, run_job
from singer_verify.training.callbacks.progress import build_run_summary_table
from singer_verify.training.composition import resolve_config
from singer_verify.training.run import LOG_FILENAME, train


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> float | None:
    """Run one training, or a job of a sweep; returns the best value of the monitored metric."""
    run = Path(HydraConfig.get().runtime.output_dir)
    return train_job(run, config) if HydraConfig.get().mode == RunMode.MULTIRUN else train_and_report(run, config)


def train_job(job: Path, config: DictConfig) -> float | None:
    """Train as a job of a sweep; the console belongs to the process that leads the sweep."""
    if not is_sweep_leader(job):
        silence_console()
    try:
        settings = resolve_config(config)
    except OmegaConfBaseException:
        with lock_job(job, format_user_error):
            raise
    return run_job(job, settings, lambda ckpt_path: train_and_report(job, config, ckpt_path), format_user_error)


def train_and_report(run: Path, config: DictConfig, ckpt_path: str | None = None) -> float | None:
    """Train with a log on the console and in the run folder, then print the outcome."""
    is_first_rank = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # of the processes that train one model
    if is_first_rank:
        configure_logging(rich.get_console(), run / LOG_FILENAME)
    else:
        configure_logging(rich.get_console(), level=logging.WARNING)
    result = train(config, ckpt_path=ckpt_path)
    if is_first_rank:
        rich.print(build_run_summary_table(result.to_metrics(), run))
    return result.best_value


if __name__ == "__main__":
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come through and are reported in one sentence
    silence_library_warnings()
    escape_undecodable_output()
    with report_user_errors(HydraException, OmegaConfBaseException), report_failed_jobs():
        main()
