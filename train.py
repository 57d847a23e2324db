"""Train a singer verification network: compose the settings from conf/, train, report."""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
import rich
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from singer_verify.cli.console import (
    INTERRUPTED,
    convert_user_errors,
    escape_undecodable_output,
    format_user_error,
    print_result,
    report_user_errors,
    silence_console,
    silence_library_warnings,
)
from singer_verify.environment import set_torch_environment
from singer_verify.errors import SingerVerifyError
from singer_verify.runs.folder import LAST_CHECKPOINT, RUN_FILENAME, remove_unused_folder
from singer_verify.sweeps.callback import report_failed_jobs
from singer_verify.training.composition import is_first_rank, resolve_config
from singer_verify.training.overrides import allow_resumed_settings, quote_path_overrides, refuse_empty_groups
from singer_verify.worker_sockets import shorten_socket_paths

if TYPE_CHECKING:
    from singer_verify.training.run import RunResult

USER_ERRORS = (HydraException, OmegaConfBaseException, OSError)  # besides SingerVerifyError
# torch and Lightning are imported in functions, so that --help and shell completion answer at once.


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> float | None:
    """Run one training, or a job of a sweep; returns the best value of the monitored metric."""
    set_torch_environment((config.get("trainer") or {}).get("precision"))  # before torch is loaded
    shorten_socket_paths()
    silence_library_warnings()
    run = Path(HydraConfig.get().runtime.output_dir)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return train_job(run, config)
    with report_user_errors(*USER_ERRORS):  # here, because Hydra introduces an error with a line of its own
        try:
            result = train_and_report(run, config)
        except KeyboardInterrupt:
            if (run / RUN_FILENAME).is_file():
                from singer_verify.training.callbacks.progress import format_resume_command

                print(f"continue  {format_resume_command(run)}")
            raise
        except SingerVerifyError:
            if is_first_rank():
                remove_unused_folder(run)
            raise
    if result.stopped == "interrupted" and result.signal == signal.SIGINT:
        sys.exit(INTERRUPTED)
    return result.best_value


def train_job(job: Path, config: DictConfig) -> float | None:
    """Train as a job of a sweep; the console belongs to the process that leads the sweep."""
    from singer_verify.sweeps.jobs import is_sweep_leader, lock_job, run_job

    if not is_sweep_leader(job):
        silence_console()
    try:
        settings = resolve_config(inherit_from_parent(config, job / LAST_CHECKPOINT))
    except (OmegaConfBaseException, SingerVerifyError):
        with lock_job(job, format_user_error), convert_user_errors(*USER_ERRORS):
            raise

    @convert_user_errors(*USER_ERRORS)
    def train(ckpt_path: str | None) -> bool:
        return train_and_report(job, config, ckpt_path).signal is not None

    return run_job(job, settings, train, format_user_error)


def inherit_from_parent(config: DictConfig, last_checkpoint: Path | None = None) -> DictConfig:
    """Return the settings with those of the parent of a training that begins with another run's weights."""
    if config.get("init_from") is None:
        return config
    from singer_verify.training.fine_tuning import inherit_settings

    is_begun = last_checkpoint is not None and last_checkpoint.is_file()
    return inherit_settings(config, HydraConfig.get().overrides.task, str(last_checkpoint) if is_begun else None)


def train_and_report(run: Path, config: DictConfig, ckpt_path: str | None = None) -> "RunResult":
    """Train, with the outcome on the console after."""
    from lightning_utilities.core.rank_zero import rank_zero_only

    from singer_verify.training.callbacks.progress import build_run_summary_table, list_next_commands
    from singer_verify.training.run import train

    is_first = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # of the processes that train one model
    if not is_first:
        for handler in logging.getLogger().handlers:
            handler.setLevel(logging.WARNING)
    result = train(config, ckpt_path=ckpt_path)
    if is_first:
        print_result(build_run_summary_table(result.to_metrics(), run), console=rich.get_console())
        is_job = HydraConfig.get().mode == RunMode.MULTIRUN
        for line in list_next_commands(result.to_metrics(), run, is_job):
            rich.get_console().print(line, soft_wrap=True, markup=False, highlight=False)
    return result


if __name__ == "__main__":
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come through and are reported in one sentence
    escape_undecodable_output()
    with report_user_errors(*USER_ERRORS), report_failed_jobs():
        conf = Path(__file__).with_name("conf")
        refuse_empty_groups(sys.argv[1:], conf)
        sys.argv[1:] = allow_resumed_settings(quote_path_overrides(sys.argv[1:]), conf)
        main()
