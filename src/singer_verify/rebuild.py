"""Objects of this package rebuilt from plain settings, as checkpoints and stores carry them."""

import importlib
from typing import Any

from singer_verify.errors import SingerVerifyError


def rebuild(description: dict[str, Any], package: str) -> Any:
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
