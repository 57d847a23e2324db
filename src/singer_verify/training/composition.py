"""The configuration of a training: composed from conf/, with the resolvers that its yaml files use."""

import copy
import hashlib
import os
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import hydra
import rich
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from rich.syntax import Syntax

from singer_verify.errors import SingerVerifyError, require_at_least
from singer_verify.project_files import PROJECT_FOLDER
from singer_verify.runs.folder import (
    find_run_folder,
    refuse_existing_run,
    require_creatable_folder,
    resolve_run_folder,
)
from singer_verify.training.overrides import (
    allow_resumed_settings,
    format_overrides,
    quote_path_overrides,
    refuse_empty_groups,
)

CHECKPOINTS_FOLDER = "checkpoints"
RANK_VARIABLES = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")  # of a process among those of one training
INTERPOLATION = re.compile(r"\$\{([\w.]+)\}")  # of another setting, not the call of a resolver
MAX_INTERPOLATIONS = 10  # of one setting by the next
MAX_FOLDER_NAME_BYTES = 200  # bytes; file systems allow 255


def build_run_path(init_from: object, name: object) -> str:
    """Return the folder of a new run: inside its parent's, or inside `runs` where it has none.

    Raises:
        SingerVerifyError: a name that would lead out of that folder, or into one that a run keeps for itself; or one of
            the two is no text.
    """
    parent = _find_parent_folder(require_path("init_from", init_from))
    if not isinstance(name, str):
        raise SingerVerifyError(f"name={'null' if name is None else name}: expected the name of a folder.")
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts or CHECKPOINTS_FOLDER in parts:
        raise SingerVerifyError(
            f"name={name}: expected the name of a folder inside {parent}, other than {CHECKPOINTS_FOLDER}."
        )
    return str(parent / name)


def build_job_folder_name(overrides: str) -> str:
    """Name the folder of a sweep's job after its overrides, so that it can be typed in an override without quotes.

    For instance `features=mel40,seed=1` → `features-mel40_seed-1`. A name that would be too long for a file system, or
    from which characters had to be left out, ends in a checksum of the overrides.
    """
    readable = overrides.replace(",", "_").replace("=", "-")
    name = re.sub(r"[^A-Za-z0-9._+-]", "-", readable)
    if name == readable and len(name) <= MAX_FOLDER_NAME_BYTES:
        return name
    checksum = hashlib.sha256(overrides.encode()).hexdigest()[:8]
    return f"{name[: MAX_FOLDER_NAME_BYTES - 9]}-{checksum}"


def require_path(name: str, value: object) -> str | None:
    """Return a setting that is a path or null.

    Raises:
        SingerVerifyError: it is something else.
    """
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise SingerVerifyError(f"{name}={value}: expected a path, or null.")
    return value


def _find_parent_folder(init_from: str | None) -> Path:
    """The parent's folder; `runs`, without a parent or where its checkpoint lies in no run."""
    if init_from is None:
        return Path("runs")
    return find_run_folder(Path(init_from)) or Path("runs")


@contextmanager
def compose_settings(
    settings: Sequence[str] | Mapping[str, Any], conf: str | Path | None = None
) -> Iterator[tuple[DictConfig, Path]]:
    """Compose the configuration of one training outside `hydra.main`; yields it and the run's folder, which is created.

    Within the context Hydra answers as it does within `hydra.main`; afterwards as it did before.

    Args:
        settings: overrides, or a dict of them.
        conf: folder of the configuration; None takes `conf` in the current folder or else the shipped one.

    Raises:
        SingerVerifyError: the settings are those of a sweep.
    """
    folder = Path(conf) if conf is not None else _find_conf_folder()
    overrides = format_overrides(settings) if isinstance(settings, Mapping) else list(settings)
    refuse_empty_groups(overrides, folder)
    overrides = allow_resumed_settings(quote_path_overrides(overrides), folder)
    outer = HydraConfig.instance().cfg
    try:
        with hydra.initialize_config_dir(str(folder.absolute()), version_base="1.3"):
            config = hydra.compose("train", overrides, return_hydra_config=True)
            HydraConfig.instance().set_config(config)  # which the folder's name asks
            if config.hydra.mode == RunMode.MULTIRUN:
                raise SingerVerifyError("sweep: train() runs one training; run sweeps with python train.py -m.")
            run = Path(os.path.abspath(config.hydra.run.dir))
            run.mkdir(parents=True, exist_ok=True)
            with read_write(config.hydra.runtime), open_dict(config):
                config.hydra.runtime.output_dir = str(run)
                HydraConfig.instance().set_config(config)
                task = copy.deepcopy(config)
                del task["hydra"]
            yield task, run
    finally:
        HydraConfig.instance().cfg = outer


def _find_conf_folder() -> Path:
    return Path("conf") if Path("conf/train.yaml").is_file() else PROJECT_FOLDER / "conf"


def resolve_config(config: DictConfig) -> dict[str, Any]:
    """A configuration as plain values, with everything computed."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


@contextmanager
def name_typed_settings(config: DictConfig) -> Iterator[None]:
    """Let errors about a setting that takes its value from another one name that one, which is what users type.

    For instance `scheduler.max_steps=20: ...` becomes `trainer.max_steps=20: ...` where it is `${trainer.max_steps}`.

    Args:
        config: settings, whose interpolations are not resolved.

    Raises:
        SingerVerifyError: the one that was raised within, under the name that is typed.
    """
    try:
        yield
    except (SingerVerifyError, InstantiationException) as error:
        own = error if isinstance(error, SingerVerifyError) else error.__cause__
        name, equals, rest = str(own).partition("=")
        typed = _find_typed_name(OmegaConf.to_container(config, resolve=False), name)
        if not isinstance(own, SingerVerifyError) or not equals or typed == name:
            raise
        raise SingerVerifyError(f"{typed}={rest}") from error


def _find_typed_name(settings: Any, name: str) -> str:
    """Follow interpolations from a dotted name to the setting that holds the value."""
    for _ in range(MAX_INTERPOLATIONS):
        value = settings
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        interpolation = INTERPOLATION.fullmatch(value) if isinstance(value, str) else None
        if interpolation is None:
            break
        name = interpolation[1]
    return name


def print_settings(config: DictConfig) -> None:
    """Print the composed settings, with everything computed, as yaml in colours."""
    rich.print(Syntax(OmegaConf.to_yaml(config, resolve=True).rstrip(), "yaml", background_color="default"))


def format_settings_help() -> str:
    """Format the settings of the chosen groups as their yaml files have them, with the comments that explain them.

    Called by the template of `--help`, in which a dollar sign has to be doubled.
    """
    hydra_config = HydraConfig.get()
    folder = next(Path(source.path) for source in hydra_config.runtime.config_sources if source.provider == "main")
    typed = dict(override.split("=", 1) for override in hydra_config.overrides.task if "=" in override)
    defaults = yaml.safe_load((folder / "train.yaml").read_text(encoding="utf-8"))["defaults"]
    groups = [group for entry in defaults if isinstance(entry, dict) for group in entry if " " not in group]
    sections = []
    for group in groups:
        choice = hydra_config.runtime.choices.get(group) or typed.get(group)  # Hydra does not record a list of choices
        for name in str(choice).strip("[]").split(","):
            path = folder / group / f"{name.strip()}.yaml"
            if path.is_file():
                text = textwrap.indent("\n".join(_read_setting_lines(path)), "  ")
                sections.append(f"{group}: ({name})\n{text}")
    own = _read_setting_lines(folder / "train.yaml")
    sections.append("\n".join(own[: own.index("hydra:")]))
    return "\n\n".join(sections).replace("$", "$$").strip()


def _read_setting_lines(path: Path) -> list[str]:
    """Return the lines of a yaml file after those of the files that its defaults name."""
    text = path.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("# @package")]
    if "defaults:" not in lines:
        return lines
    start = lines.index("defaults:")
    end = next((n for n in range(start + 1, len(lines)) if not lines[n].startswith("  - ")), len(lines))
    inherited = [name for name in yaml.safe_load(text)["defaults"] if isinstance(name, str) and name != "_self_"]
    before = [line for name in inherited for line in _read_setting_lines(path.with_name(f"{name}.yaml"))]
    return [*lines[:start], *before, *lines[end:]]


def is_overridden(name: str) -> bool:
    return any(override.startswith(f"{name}=") for override in HydraConfig.get().overrides.task)


def choose_run_folder(new: str, resume: object, ckpt_path: object) -> str:
    """Return where a training writes, and refuse a new folder that holds a run, before Hydra writes into it.

    Args:
        new: the folder of a new run.
        resume: folder of the run to continue, if given.
        ckpt_path: checkpoint to continue from, if given.

    Raises:
        SingerVerifyError: the run or checkpoint to continue from does not exist, or the new folder contains a run or
            cannot be made.
    """
    resume, ckpt_path = require_path("resume", resume), require_path("ckpt_path", ckpt_path)
    folder = resolve_run_folder(is_overridden("name"), new, resume, ckpt_path)
    continued = resume or (ckpt_path and find_run_folder(Path(ckpt_path)))
    if is_first_rank() and not (continued and Path(continued).resolve() == Path(folder).resolve()):
        require_creatable_folder(Path(folder))
        refuse_existing_run(Path(folder))
    return folder


def is_first_rank() -> bool:
    """Return whether this process is the first of those that train one model; true of one that is alone."""
    return all(os.environ.get(name, "0") == "0" for name in RANK_VARIABLES)


def format_first_seeds(num_seeds: int) -> str:
    """For instance 3 → "1,2,3", a choice sweep over seeds.

    Raises:
        SingerVerifyError: not a whole number of at least 1.
    """
    require_at_least(1, **{"sweep.seeds": num_seeds})
    return ",".join(str(seed) for seed in range(1, num_seeds + 1))


def format_folds(num_folds: int) -> str:
    """For instance 3 → "0,1,2", a choice sweep over folds.

    Raises:
        SingerVerifyError: not a whole number of at least 3.
    """
    from singer_verify.corpora.folds import MIN_FOLDS  # loads pandas, which --help does not need

    require_at_least(MIN_FOLDS, **{"data.folds": num_folds})
    return ",".join(map(str, range(num_folds)))


OmegaConf.register_new_resolver("run_path", build_run_path, replace=True)
OmegaConf.register_new_resolver("job_folder_name", build_job_folder_name, replace=True)
OmegaConf.register_new_resolver("settings_help", format_settings_help, replace=True)
OmegaConf.register_new_resolver("first_seeds", format_first_seeds, replace=True)
OmegaConf.register_new_resolver("folds", format_folds, replace=True)
# Resolved once: Lightning asks for the folder again when the run is in it.
OmegaConf.register_new_resolver("run_folder", choose_run_folder, replace=True, use_cache=True)
