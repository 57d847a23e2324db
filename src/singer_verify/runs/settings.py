"""Settings of a run: which may change when it is resumed, which change its result, and how they differ."""

import re
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml

from singer_verify.errors import SingerVerifyError

SETTINGS_KEY = "singer_verify_settings"  # of a checkpoint

# Changing one of these makes it another training. All other settings may change when a run is resumed.
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
    *("freeze", "freeze_batchnorm", "layer_decay", "lr_multipliers", "callbacks.ema"),
    "augmentation",
    "data.num_frames",
    "data.min_frames",
    "data.window_frames",
    "data.crop_seconds",
    "data.singers_per_batch",
    "data.utterances_per_singer",
    "data.singers_from",
    *("data.max_singers", "data.max_minutes"),
    "data.store_dtype",
    "data.on_the_fly",
    "data.samples_dtype",
    "data.changes",
    "trainer.accumulate_grad_batches",
)
CHANGEABLE_SETTINGS = ("scheduler.max_steps",)  # follows trainer.max_steps
LOGGER_FOLDERS = (
    *("logger.tensorboard.folder", "logger.csv.save_dir"),
    *("logger.wandb.save_dir", "logger.wandb.name", "logger.mlflow.tracking_uri", "logger.mlflow.run_name"),
)
DATA_SETTINGS = ("corpus", "from_data")  # recorded among the settings, but decided by the data
BOOKKEEPING_KEYS = (
    *("name", "resume", "ckpt_path", "sweep.seeds", "trust", "print_config", "from_data", "trainer.default_root_dir"),
    *LOGGER_FOLDERS,
)
# Settings that do not change the result of a training.
RESULT_NEUTRAL_SETTINGS = (
    *("data.num_workers", "data.num_extraction_workers", "data.store_root"),
    *("trainer.accelerator", "trainer.devices", "trainer.log_every_n_steps", "trainer.enable_progress_bar"),
    "trainer.cuda_graph",
    *("callbacks.progress_bar", "callbacks.validation_lines", "callbacks.pictures", "callbacks.projector"),
    *("callbacks.hyperparameters", "callbacks.throughput", "callbacks.learning_rate"),
    *("callbacks.last", "callbacks.non_finite", "callbacks.interruption", "logger"),
)
ABSENT_SETTING = "nothing"
# An absolute path in an override or a setting, alone or in a list or dictionary, up to its end.
ABSOLUTE_PATH_PATTERN = re.compile(
    r"(?P<before>(?:^|[\[(,]\s*|:\s+|file:(?://)?)['\"]?)(?P<path>(?:~?/|[A-Za-z]:[\\/]|\\\\)[^,\])}'\"]*)"
)
# Settings that runs of earlier versions do not record, with the value of these that does what those runs did.
LATER_SETTINGS = {"freeze_batchnorm": False, "layer_decay": 1.0, "encoder.projection": False}


def find_allowed_changes(then: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ, by dotted name, with both values.

    Raises:
        SingerVerifyError: one of them cannot change when a run is resumed.
    """
    differing = find_setting_differences(then, now)
    if refused := {name: pair for name, pair in differing.items() if _is_fixed_setting(name)}:
        raise SingerVerifyError(
            format_refused_settings(
                refused, "cannot change while a training continues; leave them as they were, or start a new run."
            )
        )
    return differing


def find_setting_differences(
    then: dict[str, Any], now: dict[str, Any], but: tuple[str, ...] = ()
) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ, by dotted name, with both values; an absent one equals None.

    Args:
        then: settings of a run.
        now: settings it would have now.
        but: names of settings and sections that are not compared.
    """
    before, after = (LATER_SETTINGS | dict(iterate_leaf_settings(settings)) for settings in (then, now))
    return {
        name: (before.get(name, ABSENT_SETTING), after.get(name, ABSENT_SETTING))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and not _is_in_sections(name, (*BOOKKEEPING_KEYS, *but))
    }


def select_result_settings(settings: dict[str, Any], but: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the settings that decide the result of a training, by dotted name; an absent one is None.

    Args:
        settings: settings of a run.
        but: names of settings and sections that are left out.
    """
    left_out = (*BOOKKEEPING_KEYS, *RESULT_NEUTRAL_SETTINGS, *but)
    leaves = LATER_SETTINGS | dict(iterate_leaf_settings(settings))
    return {
        name: value
        for name, value in sorted(leaves.items())
        if value is not None and not _is_in_sections(name, left_out)
    }


def is_result_neutral(override: str) -> bool:
    """Return whether an override leaves the result of a training unchanged."""
    return _is_in_sections(get_override_name(override), RESULT_NEUTRAL_SETTINGS)


def get_override_name(override: str) -> str:
    """Return the setting that an override sets, adds or deletes."""
    return override.partition("=")[0].lstrip("+~")


def format_setting_differences(differing: dict[str, tuple[Any, Any]]) -> str:
    return ", ".join(_list_differences(differing))


def format_refused_settings(differing: dict[str, tuple[Any, Any]], why: str) -> str:
    """Format settings that must not differ and why: one in a sentence, several in a line for each.

    Args:
        differing: settings by dotted name, with the earlier and the present value.
        why: why they must not, and what to do.
    """
    first, *others = _list_differences(differing)
    if not others:
        return f"{first}: {why}"
    return f"{len(differing)} settings: {why.removesuffix('.')}:" + "".join(f"\n  {line}" for line in (first, *others))


def _list_differences(differing: dict[str, tuple[Any, Any]]) -> list[str]:
    return [f"{name} {then} → {now}" for name, (then, now) in differing.items()]


def read_overrides(run: Path) -> list[str]:
    """Return the overrides that a run was started with.

    Raises:
        SingerVerifyError: not the folder of a run.
    """
    typed = _read_record(run, "overrides.yaml")
    if not isinstance(typed, list) or not all(isinstance(override, str) for override in typed):
        raise SingerVerifyError(f"{run / 'overrides.yaml'}: is not a list of overrides; expected the folder of a run.")
    return typed


def read_settings(run: Path) -> dict[str, Any]:
    """Return the settings that a run records, those of all its groups.

    Raises:
        SingerVerifyError: not the folder of a run.
    """
    settings = _read_record(run, "config.yaml")
    if not isinstance(settings, dict):
        raise SingerVerifyError(f"{run / 'config.yaml'}: has no settings; expected the folder of a run.")
    return settings


def _read_record(run: Path, filename: str) -> Any:
    try:
        return yaml.safe_load((run / filename).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SingerVerifyError(f"{run / filename}: cannot be read; expected the folder of a run.") from error


def merge_overrides(then: list[str], now: list[str]) -> list[str]:
    """Merge two lists of overrides, the later one first in rank, without those that name the run to continue."""
    by_name: dict[str, str] = {}
    for override in [*then, *now]:
        name = override.partition("=")[0].lstrip("+")
        pluses = max(_count_pluses(override), _count_pluses(by_name.get(name, "")))
        by_name[name] = "+" * pluses + override.lstrip("+")  # a key that had to be added then has to be added again
    return [override for name, override in by_name.items() if name not in BOOKKEEPING_KEYS]


def _count_pluses(override: str) -> int:
    return len(override) - len(override.lstrip("+"))


def iterate_leaf_settings(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over the settings that are no section, by dotted name."""
    if isinstance(settings, dict):
        for name, value in settings.items():
            yield from iterate_leaf_settings(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, settings


def _is_fixed_setting(name: str) -> bool:
    return _is_in_sections(name, FIXED_SETTINGS) and not _is_in_sections(name, CHANGEABLE_SETTINGS)


def _is_in_sections(name: str, sections: tuple[str, ...]) -> bool:
    return any(name == section or name.startswith(f"{section}.") for section in sections)


def strip_folders(settings: Any) -> Any:
    """Return settings in which absolute paths, which tell of the machine, are their last names."""
    if isinstance(settings, dict):
        return {name: strip_folders(value) for name, value in settings.items()}
    if isinstance(settings, list):
        return [strip_folders(value) for value in settings]
    if not isinstance(settings, str):
        return settings
    name, equals, value = settings.rpartition("=") if "=" in settings else ("", "", settings)
    return name + equals + ABSOLUTE_PATH_PATTERN.sub(_strip_folder, value)


def _strip_folder(found: re.Match[str]) -> str:
    return found["before"] + PureWindowsPath(found["path"]).name
