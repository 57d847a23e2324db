"""The configuration of a training: composed from conf/, with the resolvers that its yaml files use."""

import copy
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from singer_verify.errors import SingerVerifyError, require_at_least
from singer_verify.project_files import PROJECT_FOLDER
from singer_verify.runs.folder import find_run_folder, resolve_run_folder

CHECKPOINTS_FOLDER = "checkpoints"
MAX_FOLDER_NAME_BYTES = 200  # bytes; file systems allow 255


def build_run_path(init_from: str | None, name: str) -> str:
    """The folder of a new run: inside its parent's, or inside `runs` where it has none.

    Raises:
        SingerVerifyError: a name that would lead out of that folder, or into one that a run keeps for itself.
    """
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts or CHECKPOINTS_FOLDER in parts:
        raise SingerVerifyError(
            f"name={name}: expected the name of a folder inside {_find_parent_folder(init_from)}, other than "
            f"{CHECKPOINTS_FOLDER}."
        )
    return str(_find_parent_folder(init_from) / name)


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
    return "'" + str(value).replace("'", "\\'") + "'"


def resolve_config(config: DictConfig) -> dict[str, Any]:
    """A configuration as plain values, with everything computed."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def is_overridden(name: str) -> bool:
    return any(override.startswith(f"{name}=") for override in HydraConfig.get().overrides.task)


def format_first_seeds(num_seeds: int) -> str:
    """For instance 3 → "1,2,3", a choice sweep over seeds.

    Raises:
        SingerVerifyError: not a whole number of at least 1.
    """
    require_at_least(1, **{"sweep.seeds": num_seeds})
    return ",".join(str(seed) for seed in range(1, num_seeds + 1))


OmegaConf.register_new_resolver("run_path", build_run_path, replace=True)
OmegaConf.register_new_resolver("job_folder_name", build_job_folder_name, replace=True)
OmegaConf.register_new_resolver("first_seeds", format_first_seeds, replace=True)
OmegaConf.register_new_resolver(
    "run_folder", lambda *given: resolve_run_folder(is_overridden("name"), *given), replace=True
)
