"""Which settings a training may be continued with: some may change from one day to the next, others never."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from singer_verify.errors import SingerVerifyError

SETTINGS_KEY = "singer_verify_settings"  # of a checkpoint

# Another value of one of these is another training. All other settings may change.
FIXED_SETTINGS = (
    "seed",
    "monitor",
    "monitor_mode",
    "corpus",
    "features",
    "encoder",
    "loss",
    "optimizer",
    "scheduler",
    "freeze",
    "augmentation",
    "data.num_frames",
    "data.window_frames",
    "data.crop_seconds",
    "data.singers_per_batch",
    "data.utterances_per_singer",
    "data.singers_from",
    "data.store_dtype",
    "data.on_the_fly",
    "data.samples_dtype",
    "trainer.accumulate_grad_batches",
)
CHANGEABLE_SETTINGS = ("scheduler.max_steps",)  # follows trainer.max_steps
LOGGER_FOLDERS = (
    *("logger.tensorboard.folder", "logger.csv.save_dir"),
    *("logger.wandb.save_dir", "logger.wandb.name", "logger.mlflow.tracking_uri", "logger.mlflow.run_name"),
)
BOOKKEEPING_KEYS = (
    *("name", "resume", "ckpt_path", "sweep.seeds", "trust", "from_data", "trainer.default_root_dir"),
    *LOGGER_FOLDERS,
)
# Settings that change nothing about what a training finds out.
RESULT_NEUTRAL_SETTINGS = (
    *("data.num_workers", "data.num_extraction_workers", "data.store_root"),
    *("trainer.accelerator", "trainer.devices", "trainer.log_every_n_steps", "trainer.enable_progress_bar"),
    *("callbacks.progress_bar", "callbacks.validation_lines", "callbacks.pictures", "callbacks.projector"),
    *("callbacks.hyperparameters", "callbacks.throughput"),
    *("callbacks.last", "callbacks.non_finite", "callbacks.interruption", "logger"),
)
ABSENT_SETTING = "nothing"


def find_allowed_changes(then: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings by dotted name whose values differ, with both values.

    Raises:
        SingerVerifyError: one of them must stay as it was.
    """
    differing = find_setting_differences(then, now)
    if refused := {name: pair for name, pair in differing.items() if _is_fixed_setting(name)}:
        raise SingerVerifyError(
            f"{format_setting_differences(refused)}: cannot change while a training continues; leave it as it was, or "
            f"start a new run."
        )
    return differing


def find_setting_differences(
    then: dict[str, Any], now: dict[str, Any], but: tuple[str, ...] = ()
) -> dict[str, tuple[Any, Any]]:
    """Settings by dotted name whose values differ, with both; one that is not there is as good as one that is none.

    Args:
        then: settings of a run.
        now: settings it would have now.
        but: names, and names of sections, that are not compared.
    """
    before, after = dict(_iterate_leaf_settings(then)), dict(_iterate_leaf_settings(now))
    return {
        name: (before.get(name, ABSENT_SETTING), after.get(name, ABSENT_SETTING))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and not _is_in_sections(name, (*BOOKKEEPING_KEYS, *but))
    }


def is_result_neutral(override: str) -> bool:
    """Whether what was typed changes nothing about what a training finds out."""
    return _is_in_sections(override.partition("=")[0].lstrip("+~"), RESULT_NEUTRAL_SETTINGS)


def format_setting_differences(differing: dict[str, tuple[Any, Any]]) -> str:
    return ", ".join(f"{name} {then} → {now}" for name, (then, now) in differing.items())


def read_overrides(run: Path) -> list[str]:
    """What was typed for a run, to be typed again.

    Raises:
        SingerVerifyError: not the folder of a run.
    """
    path = run / "overrides.yaml"
    try:
        typed = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SingerVerifyError(f"resume={run}: {path} cannot be read; give the folder of a run.") from error
    if not isinstance(typed, list) or not all(isinstance(each, str) for each in typed):
        raise SingerVerifyError(f"resume={run}: {path} is not a list of settings; give the folder of a run.")
    return typed


def merge_overrides(then: list[str], now: list[str]) -> list[str]:
    """Overrides of both lists without those that say what to continue; where both set the same, the later one."""
    by_name: dict[str, str] = {}
    for override in [*then, *now]:
        name = override.partition("=")[0].lstrip("+")
        pluses = max(_count_pluses(override), _count_pluses(by_name.get(name, "")))
        by_name[name] = "+" * pluses + override.lstrip("+")  # what had to be added then has to be added again
    return [override for name, override in by_name.items() if name not in BOOKKEEPING_KEYS]


def _count_pluses(override: str) -> int:
    return len(override) - len(override.lstrip("+"))


def _iterate_leaf_settings(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(settings, dict):
        for name, value in settings.items():
            yield from _iterate_leaf_settings(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, settings


def _is_fixed_setting(name: str) -> bool:
    return _is_in_sections(name, FIXED_SETTINGS) and not _is_in_sections(name, CHANGEABLE_SETTINGS)


def _is_in_sections(name: str, sections: tuple[str, ...]) -> bool:
    return any(name == section or name.startswith(f"{section}.") for section in sections)
