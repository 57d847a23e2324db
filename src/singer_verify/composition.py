"""A training's settings as plain values, and what conf/ computes among them, by the names it has there."""

from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from singer_verify.errors import SingerVerifyError, require_at_least
from singer_verify.runs.folder import continued_folder
from singer_verify.runs.lineage import folder_name, runs_folder


def plain(config: DictConfig) -> dict[str, Any]:
    """A configuration as plain values, with everything computed."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def is_typed(name: str) -> bool:
    return any(override.startswith(f"{name}=") for override in HydraConfig.get().overrides.task)


def first_seeds(num_seeds: int) -> str:
    """For instance 3 → "1,2,3", a choice sweep over seeds.

    Raises:
        SingerVerifyError: not a whole number of at least 1.
    """
    require_at_least(1, **{"sweep.seeds": num_seeds})
    return ",".join(str(seed) for seed in range(1, num_seeds + 1))


def embedding_size_of(encoder: DictConfig) -> int:
    """What a classifier of an encoder's embeddings takes.

    Raises:
        SingerVerifyError: the encoder has none, because it is not trained.
    """
    if "embedding_size" not in encoder:
        raise SingerVerifyError(
            f"loss: its term ce trains a classifier together with the encoder, and encoder._target_={encoder._target_} "
            f"is not trained; take loss=ge2e, which does nothing there, or another encoder."
        )
    return int(encoder.embedding_size)


OmegaConf.register_new_resolver("embedding_size_of", embedding_size_of, replace=True)
OmegaConf.register_new_resolver("runs_folder", runs_folder, replace=True)
OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
OmegaConf.register_new_resolver("first_seeds", first_seeds, replace=True)
OmegaConf.register_new_resolver(
    "continued_folder", lambda *given: continued_folder(is_typed("name"), *given), replace=True
)
