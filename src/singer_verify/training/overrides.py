"""Overrides of settings, as they are typed: quoted where Hydra's grammar would not read what was meant.

Hydra reads `data.root=/music/a b (live)` as anything but a path, and `name=1` as a number. The settings that are paths
are therefore quoted before Hydra sees them, so that they can be typed as the shell gives them.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from singer_verify.errors import SingerVerifyError
from singer_verify.runs.folder import require_run_folder
from singer_verify.runs.settings import BOOKKEEPING_KEYS, DATA_SETTINGS, read_settings

LIST_SETTINGS = ("data.root", "data.val_root")  # paths that may be a list of paths
CHOICE_SETTINGS = ("data.root",)  # paths that a sweep may have several of
PATH_SETTINGS = (
    *("name", "init_from", "resume", "ckpt_path", "data.root", "data.store_root", "trainer.default_root_dir"),
    *("teacher", "data.teacher", "data.val_root"),
    *("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "logger.csv.save_dir", "logger.tensorboard.folder"),
)
OVERRIDE = re.compile(r"(\+{0,2})([\w.@/+-]+)=(.*)", re.DOTALL)
SWEEP_FUNCTION = re.compile(r"(choice|glob|range|interval|shuffle|sort|tag)\(.*\)", re.DOTALL)
INHERITED_GROUPS = ("features", "encoder")  # of a training with init_from, see `fine_tuning.inherit_settings`
OPTIONAL_GROUPS = ("experiment", "sweep", "debug")
MULTIRUN_ARGUMENTS = ("-m", "--multirun", "hydra.mode=MULTIRUN")


def quote_path_overrides(arguments: Sequence[str]) -> list[str]:
    """Quote the values of settings that are paths, where Hydra would read them as something else.

    A value is taken as it is, whatever its characters, unless it is `null`, quoted already, or a sweep over several. A
    list of corpora, `data.root=[a,b]`, is quoted item by item, as are the choices of a sweep, `data.root=a,b`; an
    existing path of that name comes first.

    Args:
        arguments: the command line, or a list of overrides; whatever sets no path is returned as it is.
    """
    is_multirun = any(argument in MULTIRUN_ARGUMENTS or argument.startswith("sweep=") for argument in arguments)
    quoted = []
    for argument in arguments:
        match = OVERRIDE.fullmatch(argument)
        if match is None or match[2] not in PATH_SETTINGS:
            quoted.append(argument)
            continue
        pluses, name, value = match.groups()
        quoted.append(f"{pluses}{name}={_quote_path_value(name, value, is_multirun)}")
    return quoted


def _quote_path_value(name: str, value: str, is_multirun: bool) -> str:
    if value.lower() in ("", "null") or _is_quoted(value):
        return value
    if not _is_existing_path(value):
        if name in LIST_SETTINGS and value.startswith("[") and value.endswith("]") and len(_split(value)) == 1:
            return "[" + ",".join(_quote_path(item) for item in _split(value[1:-1])) + "]"
        if is_multirun and name in CHOICE_SETTINGS:
            if SWEEP_FUNCTION.fullmatch(value):
                return value
            if len(choices := _split(value)) > 1:
                return ",".join(_quote_path_value(name, choice, False) for choice in choices)
    return _quote_path(value)


def _quote_path(value: str) -> str:
    return value if _is_quoted(value) or _is_read_as_text(value) else quote_text(value)


def _is_existing_path(value: str) -> bool:
    try:
        return Path(value).exists()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def _is_quoted(value: str) -> bool:
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\""


def _is_read_as_text(value: str) -> bool:
    """Return whether Hydra reads a value as the same text without quotes."""
    try:
        override = OverridesParser.create().parse_override(f"key={value}")
        return not override.is_sweep_override() and override.value() == value
    except HydraException:
        return False


def _split(value: str) -> list[str]:
    """Split at commas outside quotes and square brackets."""
    parts, depth, quote = [""], 0, ""
    for character in value:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and not parts[-1].strip():
            quote = character
        elif character in "[]":
            depth += 1 if character == "[" else -1
        if character == "," and not quote and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def quote_text(text: str) -> str:
    """Return text as Hydra reads it whatever its characters."""
    return QuotedString(text=text, quote=Quote.single).with_quotes()


def refuse_empty_groups(arguments: Sequence[str], conf: Path) -> None:
    """Refuse overrides that Hydra answers with an error of its own: a group that is set to nothing, or no name at all.

    Args:
        arguments: the command line.
        conf: folder of the configuration, whose subfolders are the groups.

    Raises:
        SingerVerifyError: naming the group and its choices.
    """
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and not name.lstrip("+~"):
            raise SingerVerifyError(f"{argument}: names no setting; expected name=value.")
        if "null" in value.lower().split(",") and (conf / name).is_dir():
            choices = sorted(path.stem for path in (conf / name).glob("*.yaml"))
            if name not in OPTIONAL_GROUPS:
                raise SingerVerifyError(f"{argument}: expected one of {', '.join(choices)}.")


def allow_resumed_settings(arguments: Sequence[str], conf: Path) -> list[str]:
    """Return overrides of a training that resumes a run, with the settings that this run has marked as existing.

    Hydra composes what is typed now before the run's own overrides are known, and would refuse
    `callbacks.ema.decay=0.9` of a run that was trained with `callbacks=ema`. Each setting that the run's configuration
    has is therefore added where it is absent, `++callbacks.ema.decay=0.9`, and one to delete is added first. Whether it
    may change is decided when the two configurations are compared. With `init_from`, the same is done for settings of
    the recipe and the encoder that only the parent's have.

    Args:
        arguments: the command line, or a list of overrides.
        conf: folder of the configuration, whose subfolders are the groups.

    Raises:
        SingerVerifyError: `resume` is not the folder of a run.
    """
    path = _find_typed_path(arguments, "resume")
    if path is None:
        return _allow_inherited_settings(arguments, conf)
    require_run_folder(path)
    settings, allowed = read_settings(path), []
    for argument in arguments:
        name = _split_override(argument)[0]
        is_of_the_run = (
            name not in BOOKKEEPING_KEYS
            and not argument.startswith("+")
            and name.partition(".")[0] not in DATA_SETTINGS
            and not (conf / name).is_dir()
            and _has_setting(settings, name)
        )
        if is_of_the_run and argument.startswith("~"):
            allowed += [f"++{name}={{}}", argument]
        else:
            allowed.append(f"++{argument}" if is_of_the_run else argument)
    return allowed


def _allow_inherited_settings(arguments: Sequence[str], conf: Path) -> list[str]:
    """Return overrides of a training with `init_from`, with the settings that only its parent has marked as existing.

    `encoder.channels=5` of a parent that is no LSTM would be refused by Hydra, which composes the group's own choice
    before `fine_tuning.inherit_settings` replaces it. Whether weights fit the setting is decided when both are known.
    """
    parent = _find_typed_path(arguments, "init_from")
    names = [_split_override(argument)[0] for argument in arguments]
    groups = [group for group in INHERITED_GROUPS if group not in names]
    typed = [name for name in names if name.partition(".")[0] in groups and "." in name]
    if parent is None or not typed or not parent.exists():
        return list(arguments)
    from singer_verify.training.fine_tuning import read_parent_settings  # loads torch

    inherited, own = read_parent_settings(str(parent)), _read_default_choices(conf, groups)
    marked = [name for name in typed if _has_setting(inherited, name) and not _has_setting(own, name)]
    return [
        f"++{argument}" if name in marked and argument[0] not in "+~" else argument
        for name, argument in zip(names, arguments, strict=True)
    ]


def _read_default_choices(conf: Path, groups: Sequence[str]) -> dict[str, Any]:
    """Return the settings of groups as the files have them that conf/train.yaml chooses."""
    main = yaml.safe_load((conf / "train.yaml").read_text(encoding="utf-8"))
    chosen = {group: name for entry in main["defaults"] if isinstance(entry, dict) for group, name in entry.items()}
    files = {group: conf / group / f"{chosen.get(group)}.yaml" for group in groups}
    read = {group: yaml.safe_load(path.read_text(encoding="utf-8")) for group, path in files.items() if path.is_file()}
    return {group: (main.get(group) or {}) | (read.get(group) or {}) for group in groups}


def _find_typed_path(arguments: Sequence[str], setting: str) -> Path | None:
    """Return the path that a setting is given on the command line; None where it is not typed, or null."""
    value = next((value for name, value in map(_split_override, arguments) if name == setting and value), None)
    if value is None or value.lower() == "null":
        return None
    override = OverridesParser.create().parse_override(f"{setting}={value}")
    return None if override.is_sweep_override() else Path(str(override.value()))


def _split_override(argument: str) -> tuple[str, str]:
    """Return name and value of an override; ("", "") of an argument that is none."""
    if argument.startswith("~"):
        return argument[1:].partition("=")[0], ""
    match = OVERRIDE.fullmatch(argument)
    return (match[2], match[3]) if match else ("", "")


def _has_setting(settings: Any, name: str) -> bool:
    for part in name.split("."):
        if not isinstance(settings, dict) or part not in settings:
            return False
        settings = settings[part]
    return True


def format_overrides(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return a dict of settings, nested or with dotted names, as overrides that Hydra reads.

    For instance {"loss": "ce", "trainer": {"max_steps": 5}} → ["loss='ce'", "trainer.max_steps=5"].
    """
    overrides = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            overrides += format_overrides(value, f"{prefix}{name}.")
        else:
            overrides.append(f"{prefix}{name}={_format_override_value(value)}")
    return overrides


def _format_override_value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_format_override_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_format_override_value(inner) for inner in value) + "]"
    return quote_text(str(value))
