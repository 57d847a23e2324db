"""Trainings that begin with the weights of another run, and where their folders lie."""

import hashlib
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from singer_verify.errors import SingerVerifyError, require_at_least
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
            f"name={name}: expected the name of a folder inside {_find_parent_folder(init_from)}, other than {CHECKPOINTS_FOLDER}."
        )
    return str(_find_parent_folder(init_from) / name)


def build_job_folder_name(overrides: str) -> str:
    """What was typed for one run of a sweep, as the name of one folder, without a way out of the sweep's.

    Where that is too long for a file system, its end is replaced by a checksum of the whole.
    """
    name = overrides.replace("/", "_")
    if len(name.encode()) <= MAX_FOLDER_NAME_BYTES:
        return name
    checksum = hashlib.sha256(overrides.encode()).hexdigest()[:8]
    return name.encode()[: MAX_FOLDER_NAME_BYTES - 9].decode(errors="ignore") + "~" + checksum


def _find_parent_folder(init_from: str | None) -> Path:
    """The parent's folder; `runs`, without a parent or where its checkpoint lies in no run."""
    if init_from is None:
        return Path("runs")
    return find_run_folder(Path(init_from)) or Path("runs")


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
