"""A whole recipe: the settings of a feature, and what any feature may have done to its frames."""

import ast
import hashlib
import importlib.metadata
import importlib.util
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import packages_distributions
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

import yaml

from singer_verify.errors import SingerVerifyError
from singer_verify.features.feature import Feature
from singer_verify.features.normalisation import STATISTICS_KEY
from singer_verify.project_files import PROJECT_FOLDER
from singer_verify.safe_loading import OWN_PACKAGE, iterate_targets, rebuild_from_settings

# Raise it when a recipe of singer_verify computes other frames from the same settings, so that stores are recomputed.
RECIPE_CODE_VERSION = 2

# Defaults of the settings that every recipe may have besides those of its feature.
DEFAULT_FRAME_SETTINGS = {
    "activity_db": None,
    "pause_s": 0.0,
    "level_db": None,
    "trim_silence_db": None,
    "voiced_only": False,
    "normalise": "none",
}
RECIPES_FOLDER = Path("conf/features")  # beside train.py
INSTALLATION_FOLDERS = frozenset({"site-packages", "dist-packages"})


def get_feature_settings(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe that the feature's class takes."""
    return {name: value for name, value in recipe.items() if name not in (*DEFAULT_FRAME_SETTINGS, STATISTICS_KEY)}


def get_frame_settings(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe that apply to any feature, with defaults for those it does not name."""
    return {name: recipe.get(name, default) for name, default in DEFAULT_FRAME_SETTINGS.items()}


def canonical_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe in the form in which recipes are compared: all settings named, without the data's statistics."""
    return get_feature_settings(recipe) | get_frame_settings(recipe)


def read_yaml(path: Path) -> Any:
    """Read a yaml file as plain values.

    Raises:
        SingerVerifyError: the file is not yaml.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SingerVerifyError(f"{path}: is not readable yaml ({str(error).splitlines()[0]}).") from error


def read_recipe(name: str) -> dict[str, Any]:
    """Read the recipe in a yaml file.

    Args:
        name: `mel40` for conf/features/mel40.yaml in the current folder or else as shipped, or the path of a
            yaml file.

    Raises:
        SingerVerifyError: no such recipe, or not a recipe.
    """
    folder = RECIPES_FOLDER if RECIPES_FOLDER.is_dir() else PROJECT_FOLDER / RECIPES_FOLDER
    path = Path(name) if name.endswith(".yaml") else folder / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(recipe_path.stem for recipe_path in folder.glob("*.yaml")))
        raise SingerVerifyError(
            f"features={name}: no file {path}; expected {names or f'a name in {RECIPES_FOLDER}'} or a yaml's path."
        )
    recipe = read_yaml(path)
    if not isinstance(recipe, dict):
        raise SingerVerifyError(f"{path}: holds no settings; expected a recipe like conf/features/mel40.yaml.")
    return recipe


def build_feature(recipe: dict[str, Any]) -> Feature:
    """Build the feature that a checkpoint or a store was made with; the recipe's normalisation is ignored.

    Raises:
        SingerVerifyError: the recipe belongs neither to singer_verify nor to a trusted package.
    """
    from singer_verify.features.voice import with_frame_settings  # it imports this module

    return with_frame_settings(rebuild_from_settings(get_feature_settings(recipe), "singer_verify.features"), recipe)


def resolve_recipe(given: Any) -> Feature:
    """Build a part of a recipe.

    Args:
        given: name of the part as in `features=`, its settings, or a feature, which is returned unchanged.

    Raises:
        SingerVerifyError: no such recipe, one that belongs neither to singer_verify nor to a trusted package, one that
            contains itself, or one with a normalisation of its own.
    """
    if isinstance(given, Feature):
        return given
    recipe = read_recipe(given) if isinstance(given, str) else dict(given)
    if recipe.get("normalise", "none") != "none":
        raise SingerVerifyError(
            f"a part of a recipe has normalise: {recipe['normalise']}; expected none, because the parts are normalised "
            f"together: leave it out, and set features.normalise."
        )
    try:
        return build_feature(recipe)
    except RecursionError as error:
        raise SingerVerifyError(f"features={given}: contains itself; name other recipes in its yaml.") from error


def describe_recipe_code(recipe: dict[str, Any]) -> dict[str, str]:
    """Identify the version of the code that computes a recipe's frames.

    Settings alone do not tell whether stored frames are still what the recipe computes. The code of singer_verify has a
    version that is raised by hand. Of a class from elsewhere, the source of its module is hashed, together with all
    modules that it imports, directly or not, also inside of functions: those of its own package, and those of other
    packages that are not installed. Of installed packages, the version is hashed.

    Returns:
        A version or a hash by class or package.
    """
    code = {OWN_PACKAGE: str(RECIPE_CODE_VERSION)}
    for target in iterate_targets(recipe):
        module_name, _, class_name = target.rpartition(".")
        if module_name.partition(".")[0] != OWN_PACKAGE:
            home = getattr(getattr(sys.modules.get(module_name), class_name, None), "__module__", module_name)
            code[target] = hashlib.sha256(
                repr(sorted(_collect_sources({module_name, home}).items())).encode()
            ).hexdigest()
    return code


def _collect_sources(module_names: set[str]) -> dict[str, bytes]:
    """Return the content of modules and of what they import by name of the module, or the version of a package."""
    own_packages = {name.partition(".")[0] for name in module_names}
    waiting, sources = list(module_names), dict[str, bytes]()
    while waiting:
        name = waiting.pop()
        package = name.partition(".")[0]
        if name in sources or package in (OWN_PACKAGE, *sys.stdlib_module_names):
            continue
        spec = _find_spec(name)
        if spec is None or spec.origin is None or not Path(spec.origin).is_file():
            continue  # a name that is no module, a namespace, a module that is not there
        if package not in own_packages and not INSTALLATION_FOLDERS.isdisjoint(Path(spec.origin).parts):
            if package not in sources:
                sources[package] = _find_package_version(package).encode()
            continue
        sources[name] = Path(spec.origin).read_bytes()
        waiting += _find_imports(sources[name], spec.parent)
    return sources


def _find_spec(name: str) -> ModuleSpec | None:
    """Find a module without executing anything, whether it has been imported or not."""
    if (module := sys.modules.get(name)) is not None:
        path = getattr(module, "__file__", None)
        return module.__spec__ or (spec_from_file_location(name, path) if path else None)
    parent = name.rpartition(".")[0]
    if not parent:
        return importlib.util.find_spec(name)
    folders = getattr(_find_spec(parent), "submodule_search_locations", None)
    return PathFinder.find_spec(name, folders) if folders else None


def _find_imports(source: bytes, package: str | None) -> list[str]:
    """Return the names that a module imports, of modules and of what may be modules; none of a compiled module."""
    names: list[str] = []
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return names
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parent = "." * node.level + (node.module or "")
            parent = importlib.util.resolve_name(parent, package) if node.level else parent
            names += [parent, *(f"{parent}.{alias.name}" for alias in node.names)]
    return names


def _find_package_version(package: str) -> str:
    """Return the version of the distribution that an installed package belongs to, "" if it is not known."""
    try:
        return importlib.metadata.version(packages_distributions().get(package, [package])[0])
    except importlib.metadata.PackageNotFoundError:
        return ""
