"""Construct from the settings in a file only classes of singer_verify and of trusted packages.

A class of another package is imported and constructed if the user trusts it: by `--trust my_package` or
`trust=[my_package]`, by `trust: [my_package]` in the project's conf/train.yaml, or by installing a package that
declares an entry point of the group `singer_verify.plugins`. What a file says of itself trusts nothing. Functions,
and classes that such a package merely imports, are never called.
"""

import functools
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from singer_verify.errors import SingerVerifyError

OWN_PACKAGE = "singer_verify"
ENTRY_POINT_GROUP = "singer_verify.plugins"
SCHEDULES_MODULE = "singer_verify.training.schedulers"
LIBRARY_MODULES = (  # what a run's configuration may name besides our own and trusted classes
    "singer_verify.",
    "torch.optim.",
    "pytorch_lightning.callbacks.",
    "pytorch_lightning.loggers.",
    "pytorch_lightning.profilers.",
    "pytorch_lightning.strategies.",
    "pytorch_lightning.trainer.",
)
TARGET_ALIASES = {"pytorch_lightning.Trainer": "pytorch_lightning.trainer.Trainer"}  # as our yaml has it
# Trusting these would let a file call nearly anything.
NEVER_TRUSTED = sys.stdlib_module_names | {
    *("torch", "numpy", "scipy", "pandas", "sklearn", "hydra", "omegaconf", "pytorch_lightning", "lightning_fabric"),
    *("lightning_utilities", "joblib", "cloudpickle", "IPython", "pytest", "pip", "setuptools"),
}

PROJECT_SETTINGS = Path("conf/train.yaml")

_trusted_packages: set[str] = set()


def trust(packages: Iterable[str]) -> None:
    """Allow files that this process reads to name the classes of these packages.

    A package that lies in the current folder, as a project's own does, becomes importable.

    Raises:
        SingerVerifyError: not the name of a package, or one whose classes can do anything.
    """
    for package in packages:
        name = str(package)
        if not all(part.isidentifier() for part in name.split(".")):
            raise SingerVerifyError(f"trust={name}: expected the name of a package, as it is imported.")
        top = name.partition(".")[0]
        if top in NEVER_TRUSTED:
            raise SingerVerifyError(f"trust={name}: {top} can run anything; expected a package with parts of models.")
        add_project_folder(top)
        _trusted_packages.add(name)


def list_trusted_packages() -> list[str]:
    """List the packages that the user trusts, for a process that works for this one."""
    return sorted(_trusted_packages)


def trust_listed_packages(packages: Iterable[str] | None) -> None:
    """Trust these packages and those that conf/train.yaml in the current folder lists under `trust`.

    Raises:
        SingerVerifyError: see `trust`.
    """
    trust([*_read_project_packages(), *(packages or [])])


def _read_project_packages() -> list[str]:
    """Return what conf/train.yaml in the current folder lists under `trust`; nothing outside a project's folder."""
    try:
        settings = yaml.safe_load(PROJECT_SETTINGS.read_text(encoding="utf-8"))
        listed = settings.get("trust") or []
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return []
    return [listed] if isinstance(listed, str) else list(listed)


def list_packages_to_type(packages: Iterable[str] | None = None) -> list[str]:
    """List the trusted packages that a suggested command has to name; those of conf/train.yaml are trusted without.

    Args:
        packages: packages that are trusted; None takes those that this process trusts.
    """
    return sorted({*(_trusted_packages if packages is None else packages)} - {*_read_project_packages()})


def format_trust_options(packages: Iterable[str] | None = None) -> str:
    """Format the options of singer-verify that trust these packages, a space before each: ` --trust my_package`.

    Args:
        packages: see `list_packages_to_type`.
    """
    return "".join(f" --trust {name}" for name in list_packages_to_type(packages))


def add_project_folder(package: str) -> None:
    """Append the current folder to the import path if the package lies there and is not importable otherwise."""
    folder = Path.cwd()
    lies_here = (folder / package).is_dir() or (folder / f"{package}.py").is_file()
    if lies_here and str(folder) not in sys.path and importlib.util.find_spec(package) is None:
        sys.path.append(str(folder))


def is_trusted_module(module_name: str) -> bool:
    """Return whether a module lies in a package that the user trusts."""
    packages = _trusted_packages if _is_inside(module_name, _trusted_packages) else _find_plugin_packages()
    return module_name.partition(".")[0] not in NEVER_TRUSTED and _is_inside(module_name, packages)


@functools.cache
def _find_plugin_packages() -> frozenset[str]:
    return frozenset(point.module for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP))


def _is_inside(module_name: str, packages: Iterable[str]) -> bool:
    return any(module_name == package or module_name.startswith(f"{package}.") for package in packages)


def list_packages(settings: Any) -> list[str]:
    """List the packages other than singer_verify whose classes plain settings name, sorted."""
    packages = {target.partition(".")[0] for target in iterate_targets(settings)}
    return sorted(packages - {OWN_PACKAGE})


def iterate_targets(settings: Any) -> Iterator[str]:
    """Iterate over the `_target_`s in nested settings."""
    if isinstance(settings, dict):
        if "_target_" in settings:
            yield str(settings["_target_"])
        for value in settings.values():
            yield from iterate_targets(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from iterate_targets(value)


def require_trusted(*settings: Any) -> None:
    """Refuse settings that name classes of packages which are not trusted, before any of them is imported.

    Raises:
        SingerVerifyError: naming these packages and how to trust them.
    """
    targets = [target for target in iterate_targets(list(settings)) if not _is_inside(target, [OWN_PACKAGE])]
    untrusted = [target for target in targets if not is_trusted_module(target.rpartition(".")[0])]
    if untrusted:
        packages = list_packages([{"_target_": target} for target in untrusted])
        raise SingerVerifyError(_format_untrusted(untrusted[0], packages))


def _format_untrusted(target: str, packages: list[str]) -> str:
    if never := [name for name in packages if name in NEVER_TRUSTED or not name.isidentifier()]:
        return (
            f"_target_={target}: expected a class of singer_verify or of a trusted package, and {never[0] or 'that'} "
            f"can never be trusted; not created by singer_verify."
        )
    options = " ".join(f"--trust {name}" for name in packages)
    return (
        f"_target_={target}: comes from {', '.join(packages)}, which is not trusted, and was not imported; if you know "
        f"the code, pass {options} (to train.py, trust=[{','.join(packages)}]) or list it under trust: in "
        f"conf/train.yaml."
    )


def rebuild_from_settings(description: dict[str, Any], package: str) -> Any:
    """Construct what a plain dictionary describes: `_target_`, a class's import path, and its settings.

    Only classes defined under `package`, a part of this one, and those of trusted packages can be named, so a file from
    an unknown source cannot make anything else run.

    Raises:
        SingerVerifyError: the description names something else, or settings that the class does not take.
    """
    target = str(description.get("_target_"))
    if _is_inside(target, [OWN_PACKAGE]):
        if not target.startswith(f"{package}."):
            raise SingerVerifyError(
                f"_target_={target}: expected a class under {package}; not created by singer_verify."
            )
    else:
        require_trusted({"_target_": target})
    settings = {name: value for name, value in description.items() if name != "_target_"}
    try:
        return import_class(target)(**settings)
    except (ImportError, AttributeError, TypeError) as error:
        raise SingerVerifyError(f"{target}: cannot be rebuilt by this version ({error}).") from error


def import_class(target: str) -> type:
    """Import a class of singer_verify or of a trusted package by its path.

    Raises:
        ImportError, AttributeError: there is no such thing.
        TypeError: it is not a class, or is defined elsewhere.
    """
    module_name, _, class_name = target.rpartition(".")
    target_class = getattr(importlib.import_module(module_name), class_name)
    # The path alone is not enough: modules hold what they import, as in singer_verify.cli.os.system.
    home = getattr(target_class, "__module__", "")
    is_at_home = home == module_name if _is_inside(module_name, [OWN_PACKAGE]) else is_trusted_module(home)
    if not isinstance(target_class, type) or not is_at_home:
        raise TypeError(f"{class_name} is not a class of {module_name}")
    return target_class


def require_plain(name: str, value: Any) -> None:
    """Refuse settings that a checkpoint could not carry: all but dicts, lists, strings, numbers, booleans and None.

    Raises:
        SingerVerifyError: naming the place and the type of the first other value.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise SingerVerifyError(f"{name}: has the key {key!r}; expected strings.")
            require_plain(f"{name}.{key}", inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            require_plain(f"{name}[{number}]", inner)
    elif type(value) not in (str, int, float, bool, type(None)):
        kind = type(value)
        raise SingerVerifyError(
            f"{name}: is a {kind.__module__}.{kind.__qualname__}; expected plain values (dict, list, str, int, float, "
            f"bool, None), which a checkpoint can carry: convert it where the settings are made."
        )


def require_rebuildable(name: str, part: object, settings: Any, package: str) -> Any:
    """Refuse a part that loading its model would refuse; return the part that its settings rebuild.

    Args:
        name: place of the settings, for instance `encoder.settings`.
        part: the part itself.
        settings: a dict of plain values with `_target_`, that rebuild it.
        package: subpackage of singer_verify whose classes are allowed, besides those of trusted packages.

    Raises:
        SingerVerifyError: settings that are not plain, that rebuild nothing or something else, or a class that cannot
            be imported by its path.
    """
    if not isinstance(settings, dict) or "_target_" not in settings:
        raise SingerVerifyError(f"{name}: is {settings!r:.80}; expected a dict with _target_, the class's import path.")
    require_plain(name, settings)
    kind = type(part)
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        raise SingerVerifyError(
            f"{name}: {kind.__qualname__} of {kind.__module__} cannot be imported by its path, so no checkpoint of it "
            f"could be loaded; move it to the top level of a module."
        )
    rebuilt = rebuild_from_settings(settings, package)
    if type(rebuilt) is not kind:
        raise SingerVerifyError(
            f"{name}: _target_={settings['_target_']} makes a {type(rebuilt).__qualname__}; expected "
            f"{kind.__module__}.{kind.__qualname__}."
        )
    return rebuilt


def refuse_untrusted_targets(config: Any) -> None:
    """Refuse a configuration if Hydra, told to instantiate it, would call anything that a file may not name.

    Allowed are classes of this package, the functions of its `schedules`, optimisers and schedules of torch,
    Lightning's Trainer, callbacks, loggers, profilers and strategies, and classes of trusted packages; each under the
    module that defines or exports it.

    Raises:
        SingerVerifyError: naming the first `_target_` that is none of these.
    """
    for target in iterate_targets(config):
        if _is_allowed_target(target):
            continue
        package = target.partition(".")[0]
        if package.isidentifier() and package != OWN_PACKAGE and package not in NEVER_TRUSTED and "." in target:
            if not is_trusted_module(target.rpartition(".")[0]):
                raise SingerVerifyError(_format_untrusted(target, [package]))
            raise SingerVerifyError(f"_target_={target}: there is no such class in that package; see its spelling.")
        raise SingerVerifyError(
            f"_target_={target}: a run's configuration may name classes of singer_verify, torch.optim, "
            f"pytorch_lightning and trusted packages only."
        )


def _is_allowed_target(target: str) -> bool:
    module_name, _, name = TARGET_ALIASES.get(target, target).rpartition(".")
    is_library = f"{module_name}.".startswith(LIBRARY_MODULES)
    if not is_library and not is_trusted_module(module_name):
        return False
    try:
        value = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError):
        return False
    # The prefix alone is not enough: modules hold other modules, as in singer_verify.cli.os.system.
    home = str(getattr(value, "__module__", ""))
    if not is_library:
        return isinstance(value, type) and is_trusted_module(home)
    is_schedule = home == module_name == SCHEDULES_MODULE
    return f"{home}.".startswith(LIBRARY_MODULES) and (isinstance(value, type) or is_schedule)
