"""One training from its settings to its result: what train.py runs, what a notebook calls, and what tests call."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from singer_verify.atomic_files import is_disk_full
from singer_verify.data.datamodule import SingerDataModule
from singer_verify.data.sampler import require_divisible_batches
from singer_verify.errors import SingerVerifyError
from singer_verify.export.seed_format import export_saved_model
from singer_verify.runs.checkpoints import drop_training_state, read_checkpoint, write_checkpoint
from singer_verify.runs.folder import (
    BEST_CHECKPOINT,
    FAILURE_FILENAME,
    LAST_CHECKPOINT,
    LOG_FILENAME,
    METRICS_FILENAME,
    claim_run_folder,
    find_run_folder,
    record_run,
    write_json,
)
from singer_verify.runs.settings import find_allowed_changes, get_override_name, merge_overrides, read_overrides
from singer_verify.safe_loading import refuse_untrusted_targets
from singer_verify.training.callbacks.checkpoints import BestCheckpoint, warn_of_missing_checkpoints
from singer_verify.training.callbacks.exact_resume import read_previous_settings
from singer_verify.training.callbacks.interruption import TrainingInterrupted, find_end_signal
from singer_verify.training.callbacks.metric_history import ValidationMetrics, find_history
from singer_verify.training.callbacks.non_finite import format_batch_utterances, format_last_checkpoint
from singer_verify.training.callbacks.progress import describe_training
from singer_verify.training.composition import compose_settings, name_typed_settings, print_settings, resolve_config
from singer_verify.training.fine_tuning import ParentCheckpoint, inherit_settings
from singer_verify.training.lightning_internals import count_started_batches
from singer_verify.training.module import Verifier
from singer_verify.training.parts import (
    build_data,
    build_encoder,
    build_trainer,
    build_verifier,
    require_measured_monitors,
    trust_packages,
)
from singer_verify.training.setting_checks import check_settings
from singer_verify.worker_processes import is_worker_death, wait_for_death_signal

log = logging.getLogger(__name__)
ABSENT = object()
EARLY_STOPPING_ERROR = "Early stopping conditioned on metric"  # Lightning's, where there is no such metric


@dataclass(frozen=True, repr=False)
class RunResult:
    """The outcome of a training; metrics.json holds all of it but the folder.

    Attributes:
        run: the run's folder.
        monitor: name of the metric that decides.
        untrained: metrics of the validation before the first step, with its `step`.
        best: metrics of the best validation after some training, those of best.ckpt.
        final: metrics of the last validation.
        steps: number of steps trained.
        seconds: duration of the training, over all its sessions.
        stopped: why it ended: step limit, no further improvement, interrupted, nothing to train.
        num_train_singers: number of training singers.
        num_val_singers: number of validation singers.
        train_minutes: minutes learned from, of all training singers together, without pauses.
        signal: number of the signal that asked it to end, be it in its last step; not in metrics.json either.
    """

    run: Path
    monitor: str
    untrained: ValidationMetrics | None
    best: ValidationMetrics | None
    final: ValidationMetrics | None
    steps: int
    seconds: float
    stopped: str
    num_train_singers: int
    num_val_singers: int
    train_minutes: float
    signal: int | None = None

    @property
    def best_value(self) -> float | None:
        """Best value of the monitored metric; None where nothing was validated after some training."""
        return self.best[self.monitor] if self.best else None

    def to_metrics(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        return {name: value for name, value in asdict(self).items() if name not in ("run", "signal")}

    def __repr__(self) -> str:
        best = f"{self.monitor} {self.best_value:.4f} at step {self.best['step']:.0f}" if self.best else "not validated"
        return f"RunResult({self.run}: {best}; {self.stopped} after {self.steps} steps, {self.seconds:.0f} s)"


def train(
    settings: Sequence[str] | Mapping[str, Any] | DictConfig = (),
    *,
    conf: str | Path | None = None,
    callbacks: Sequence[pl.Callback] = (),
    ckpt_path: str | None = None,
) -> RunResult:
    """Train a model, as `python train.py` with the same settings does.

        from singer_verify import train

        result = train(["data.root=corpora/vocalset", "loss=ge2e+ce", "trainer.max_steps=2000"])
        result = train({"data.root": "corpora/vocalset", "loss": "ge2e+ce", "trainer": {"max_steps": 2000}})
        result.best["val/eer"], result.run

    Args:
        settings: overrides as typed for train.py, or the same as a dict, nested or with dotted names; or, in a program
            under `hydra.main`, the configuration that Hydra composed.
        conf: folder of the configuration; None takes `conf` in the current folder or else the shipped one.
        callbacks: called before those that the configuration names.
        ckpt_path: checkpoint to continue from, as the setting of that name.

    Raises:
        SingerVerifyError: a setting, the corpus or the disk does not allow it.
    """
    if isinstance(settings, DictConfig):
        return _train(Path(HydraConfig.get().runtime.output_dir), settings, callbacks, ckpt_path)
    with compose_settings(settings, conf) as (config, run), _log_to_file(run):
        return _train(run, config, callbacks, ckpt_path)


def _train(run: Path, config: DictConfig, callbacks: Sequence[pl.Callback], ckpt_path: str | None) -> RunResult:
    ckpt_path = ckpt_path or config.ckpt_path
    is_first_rank = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # of the processes that train one model
    if is_first_rank:
        source = config.resume or (ckpt_path and find_run_folder(Path(ckpt_path)))
        claim_run_folder(run, Path(source) if source else None)

    trust_packages(resolve_config(config))
    is_printed = is_first_rank and config.get("print_config") is True

    # The settings: as typed, and of a run that is resumed, as typed for it before; the rest is a parent's, if any.
    config, overrides, ckpt_path = _compose_resumed(config, ckpt_path)
    config = inherit_settings(config, overrides, ckpt_path)
    OmegaConf.set_readonly(config, True)
    if is_printed:
        print_settings(config)
    settings = resolve_config(config)
    with name_typed_settings(config):
        check_settings(settings)
        trainer = build_trainer(config, callbacks)
    find_history(trainer, METRICS_FILENAME)
    previous = read_previous_settings(Path(ckpt_path), settings) if ckpt_path else None
    parent = ParentCheckpoint.read(config.init_from) if config.init_from and not ckpt_path else None

    # The data, which decide what the settings leave open.
    with name_typed_settings(config):
        data = build_data(config, ckpt_path)
    if parent:
        parent.require_match(data.recipe, build_encoder(config, data).settings)  # type: ignore[arg-type]
    data.require_divisible_batches(trainer.world_size)
    with name_typed_settings(config):
        verifier = build_verifier(config, data, settings)  # wrong settings are refused before frames are computed
        require_measured_monitors(settings, trainer, verifier)
    data.prepare_data()
    data.setup()
    require_divisible_batches(data.train_sampler.batch_sizes, trainer.world_size)
    settings |= {"corpus": data.describe_contents(), "from_data": data.describe_shapes()}
    if previous is not None:
        find_allowed_changes(previous, settings)

    # The network, with fresh weights or those of another run.
    torch.set_flush_denormal(True)  # gradients that fade over 200 frames would make a CPU ten times slower
    pl.seed_everything(config.seed, workers=True, verbose=False)  # now, because computing frames draws random numbers
    verifier = build_verifier(config, data, settings)
    origin = parent.record(run, parent.transfer_weights(verifier)) if parent else None

    # The training.
    warn_of_missing_checkpoints(trainer)
    if is_first_rank:
        config_yaml = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        record_run(run, config_yaml, overrides, parent=origin)
        (run / FAILURE_FILENAME).unlink(missing_ok=True)  # of a sweep's job that is continued by itself
        for line in describe_training(trainer, verifier, data):
            log.info("%s", line)
    with _record_failure(run if is_first_rank else None):
        result = fit(trainer, verifier, data, ckpt_path)
        if is_first_rank:
            write_results(trainer, result)
    return result


@contextmanager
def _record_failure(run: Path | None) -> Iterator[None]:
    """Write the reason of an error raised within into the run's folder, for `singer-verify runs`."""
    try:
        yield
    except Exception as error:
        if run is not None:
            kind = "" if isinstance(error, SingerVerifyError) else f"{type(error).__name__}: "
            with suppress(OSError):  # the disk may be full
                write_json(run / FAILURE_FILENAME, {"reason": kind + " ".join(str(error).split())})
        raise


def _compose_resumed(config: DictConfig, ckpt_path: str | None) -> tuple[DictConfig, list[str], str | None]:
    """Return the settings, the overrides they come from, and the checkpoint to continue from.

    With `resume`, what was typed for that run holds too, where nothing else is typed now.
    """
    overrides = merge_overrides([], list(HydraConfig.get().overrides.task))
    if config.resume is None:
        return config, overrides, ckpt_path
    run = Path(config.resume)
    overrides = _merge_with_previous(read_overrides(run), overrides)
    config = hydra.compose("train", overrides)
    refuse_untrusted_targets(resolve_config(config))
    if (run / LAST_CHECKPOINT).exists():
        return config, overrides, str(run / LAST_CHECKPOINT)
    log.info("%s: was stopped before its first checkpoint; starting again.", run)
    return config, overrides, None


def _merge_with_previous(previous: list[str], typed: list[str]) -> list[str]:
    """Return the overrides of a run and those typed now, in a form that composes.

    Where another choice of a group is typed, previous settings that no group has any more are left out, so that what
    differs is told by the comparison of the two configurations. What `allow_resumed_settings` added is removed where
    the groups have the setting.
    """
    merged = merge_overrides(previous, typed)
    loader = GlobalHydra.instance().config_loader()
    choices = [override for override in merged if loader.get_group_options(get_override_name(override))]
    of_groups = hydra.compose("train", choices)
    has_new_choice = not set(choices) <= set(previous)
    overrides = []
    for override in merged:
        name = get_override_name(override)
        exists = OmegaConf.select(of_groups, name, default=ABSENT) is not ABSENT
        is_gone = has_new_choice and override not in (*choices, *typed) and not exists and not override.startswith("+")
        if not is_gone and not (exists and override == f"++{name}={{}}"):
            overrides.append(override.removeprefix("++") if exists else override)
    return overrides


def fit(trainer: pl.Trainer, verifier: Verifier, data: SingerDataModule, ckpt_path: str | None = None) -> RunResult:
    """Train until validation no longer improves or the steps are used up.

    An encoder without parameters is validated once, and is the best there is; the loss does not learn alone.

    Raises:
        SingerVerifyError: the loss is not finite, a loader worker died, or the disk is full.
        KeyboardInterrupt: it was interrupted at once, by a second signal or outside of training steps.
    """
    run, history = Path(trainer.default_root_dir), find_history(trainer, METRICS_FILENAME)
    stopped = "no further improvement"
    history.start_session()
    learns = any(True for _ in verifier.encoder.parameters())
    try:
        if ckpt_path is None or not learns:
            trainer.validate(verifier, data, verbose=False)
        if learns:
            trainer.fit(verifier, data, ckpt_path=ckpt_path)
        else:
            stopped = "nothing to train"
            trainer.save_checkpoint(run / BEST_CHECKPOINT, weights_only=True)
    except TrainingInterrupted:
        stopped = "interrupted"
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # which Lightning turns into exit status 1
            raise KeyboardInterrupt from end
        raise
    except Exception as error:
        if user_error := convert_to_user_error(error, trainer):
            raise user_error from error
        raise
    finally:
        verifier.graphed_encoder.release()
    if trainer.global_step >= trainer.max_steps:
        stopped = "step limit"
    return RunResult(
        run=run,
        monitor=history.monitor,
        untrained=history.untrained,
        best=history.best if learns else history.untrained,
        final=history.final,
        steps=trainer.global_step,
        seconds=round(history.seconds, 1),
        stopped=stopped,
        num_train_singers=len(data.train_singers),
        num_val_singers=len(data.stores["val"].singers),
        train_minutes=round(data.train_minutes, 3),
        signal=find_end_signal(trainer),
    )


def convert_to_user_error(error: Exception, trainer: pl.Trainer) -> SingerVerifyError | None:
    """Turn the death of a loader worker, a full disk, or what Lightning refuses, into a message; else return None."""
    if is_worker_death(error):
        wait_for_death_signal()
    try:
        return _convert_known_error(error, trainer)
    except RuntimeError as again:  # the signal of another worker's death, which ends with the first
        if not is_worker_death(again):
            raise
        return _convert_known_error(error, trainer)


def _convert_known_error(error: Exception, trainer: pl.Trainer) -> SingerVerifyError | None:
    if is_worker_death(error):
        step = count_started_batches(trainer)
        return SingerVerifyError(
            f"step {step}: a loader worker died ({' '.join(str(error).split())}); {format_last_checkpoint(trainer)}; "
            f"continue with fewer data.num_workers if memory ran out; the batch at hand: "
            f"{format_batch_utterances(trainer, step)}."
        )
    if isinstance(error, MisconfigurationException) or EARLY_STOPPING_ERROR in str(error):
        return SingerVerifyError(" ".join(str(error).replace("`", "").split()))
    if isinstance(error, OSError) and is_disk_full(error):
        return SingerVerifyError(
            f"{error.strerror}: {format_last_checkpoint(trainer)}; free some space and continue from it."
        )
    return None


def write_results(trainer: pl.Trainer, result: RunResult) -> None:
    """Write saved_model.pt and metrics.json; a run stopped before its first validation gets a best.ckpt too."""
    keeps_best = any(isinstance(callback, BestCheckpoint) for callback in trainer.callbacks)  # type: ignore[attr-defined]
    if keeps_best and not (result.run / BEST_CHECKPOINT).exists() and (result.run / LAST_CHECKPOINT).exists():
        write_checkpoint(
            drop_training_state(read_checkpoint(result.run / LAST_CHECKPOINT)), result.run / BEST_CHECKPOINT
        )
    if (result.run / BEST_CHECKPOINT).exists():
        export_saved_model(result.run)
    write_json(result.run / METRICS_FILENAME, result.to_metrics())


@contextmanager
def _log_to_file(run: Path) -> Iterator[None]:
    """Append the package's messages to the run's log; programs under `hydra.main` have Hydra do it."""
    file = logging.FileHandler(run / LOG_FILENAME, encoding="utf-8", errors="backslashreplace", delay=True)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger, level = logging.getLogger("singer_verify"), logging.getLogger("singer_verify").level
    logger.addHandler(file)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(file)
        logger.setLevel(level)
        file.close()
