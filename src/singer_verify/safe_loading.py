"""Objects made from plain settings that files carry: what may be named there, and nothing else, is constructed."""

import importlib
from typing import Any

from singer_verify.errors import SingerVerifyError

SCHEDULES_MODULE = "singer_verify.training.schedulers"
TRUSTED_PACKAGES = (
    "singer_verify.",
    "torch.optim.",
    "pytorch_lightning.callbacks.",
    "pytorch_lightning.loggers.",
    "pytorch_lightning.strategies.",
    "pytorch_lightning.trainer.",
)
TARGET_ALIASES = {"pytorch_lightning.Trainer": "pytorch_lightning.trainer.Trainer"}  # as our yaml has it


def rebuild_from_settings(description: dict[str, Any], package: str) -> Any:
    """Construct what a plain dictionary describes: `_target_`, a class's import path, and its settings.

    Only classes defined under `package`, a part of this one, can be named, so a file from an unknown source cannot
    make anything else run.

    Raises:
        SingerVerifyError: the description names something else, or settings that the class does not take.
    """
    target = str(description.get("_target_"))
    module_name, _, class_name = target.rpartition(".")
    if not module_name.startswith(f"{package}."):
        raise SingerVerifyError(f"_target_={target}: expected a class under {package}; the file is not ours.")
    settings = {name: value for name, value in description.items() if name != "_target_"}
    try:
        found = getattr(importlib.import_module(module_name), class_name)
        if not isinstance(found, type) or found.__module__ != module_name:
            raise TypeError(f"{class_name} is not a class of {module_name}")
        return found(**settings)
    except (ImportError, AttributeError, TypeError) as error:
        raise SingerVerifyError(f"{target}: cannot be rebuilt by this version ({error}).") from error


def refuse_untrusted_targets(config: Any) -> None:
    """Refuse a configuration that was read from a file if Hydra, told to instantiate it, would call anything else.

    Allowed are classes of this package, the functions of its `schedules`, optimisers and schedules of torch, and
    Lightning's Trainer, callbacks, loggers and strategies; each under the module that defines or exports it.

    Raises:
        SingerVerifyError: naming the first `_target_` that is none of these.
    """
    if isinstance(config, dict):
        if "_target_" in config and not _is_trusted_target(str(config["_target_"])):
            raise SingerVerifyError(
                f"_target_={config['_target_']}: a run's configuration may name classes of singer_verify, torch.optim "
                f"and pytorch_lightning only; the file is not ours."
            )
        for value in config.values():
            refuse_untrusted_targets(value)
    elif isinstance(config, list):
        for value in config:
            refuse_untrusted_targets(value)


def _is_trusted_target(target: str) -> bool:
    module_name, _, name = TARGET_ALIASES.get(target, target).rpartition(".")
    if not f"{module_name}.".startswith(TRUSTED_PACKAGES):
        return False
    try:  # the prefix alone is not enough: modules hold other modules, as in singer_verify.cli.os.system
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError):
        return False
    home = f"{getattr(found, '__module__', '')}."
    is_schedule = home == f"{SCHEDULES_MODULE}." and module_name == SCHEDULES_MODULE
    return home.startswith(TRUSTED_PACKAGES) and (isinstance(found, type) or is_schedule)
