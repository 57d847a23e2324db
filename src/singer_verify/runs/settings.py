"""Which settings a training may be continued with: some may change from one day to the next, others never."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from singer_verify.errors import SingerVerifyError

# Another value of one of these is another training. All other settings may change.
FIXED = (
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
MAY_CHANGE = ("scheduler.max_steps",)  # follows trainer.max_steps
NOT_SETTINGS = ("name", "resume", "ckpt_path", "sweep.seeds", "callbacks.best.dirpath", "logger.folder")
# Settings that change nothing about what a training finds out.
HARMLESS = (
    *("data.num_workers", "data.num_extraction_workers", "data.store_root", "data.windows_per_batch"),
    *("trainer.accelerator", "trainer.devices", "trainer.log_every_n_steps", "trainer.enable_progress_bar"),
    *("callbacks.progress_bar", "logger", "checkpoint_every", "on_nan"),
)
ABSENT = "nothing"


def changes(then: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings by dotted name whose values differ, with both values.

    Raises:
        SingerVerifyError: one of them must stay as it was.
    """
    differing = differences(then, now)
    if refused := {name: pair for name, pair in differing.items() if _is_fixed(name)}:
        raise SingerVerifyError(
            f"{in_words(refused)}: cannot change while a training continues; leave it as it was, or start a new run."
        )
    return differing


def differences(then: dict[str, Any], now: dict[str, Any], but: tuple[str, ...] = ()) -> dict[str, tuple[Any, Any]]:
    """Settings by dotted name whose values differ, with both; one that is not there is as good as one that is none.

    Args:
        then: settings of a run.
        now: settings it would have now.
        but: names, and names of sections, that are not compared.
    """
    before, after = dict(_leaves(then)), dict(_leaves(now))
    return {
        name: (before.get(name, ABSENT), after.get(name, ABSENT))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and not _is_below(name, (*NOT_SETTINGS, *but))
    }


def is_harmless(override: str) -> bool:
    """Whether what was typed changes nothing about what a training finds out."""
    return _is_below(override.partition("=")[0].lstrip("+~"), HARMLESS)


def in_words(differing: dict[str, tuple[Any, Any]]) -> str:
    return ", ".join(f"{name} {then} → {now}" for name, (then, now) in differing.items())


def typed_for(run: Path) -> list[str]:
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


def merged(then: list[str], now: list[str]) -> list[str]:
    """Overrides of both lists without those that say what to continue; where both set the same, the later one."""
    by_name: dict[str, str] = {}
    for override in [*then, *now]:
        name = override.partition("=")[0].lstrip("+")
        pluses = max(_pluses(override), _pluses(by_name.get(name, "")))
        by_name[name] = "+" * pluses + override.lstrip("+")  # what had to be added then has to be added again
    return [override for name, override in by_name.items() if name not in NOT_SETTINGS]


def _pluses(override: str) -> int:
    return len(override) - len(override.lstrip("+"))


def _leaves(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(settings, dict):
        for name, value in settings.items():
            yield from _leaves(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, settings


def _is_fixed(name: str) -> bool:
    return _is_below(name, FIXED) and not _is_below(name, MAY_CHANGE)


def _is_below(name: str, sections: tuple[str, ...]) -> bool:
    return any(name == section or name.startswith(f"{section}.") for section in sections)
