"""A whole recipe: the settings of a feature, and what any feature may have done to its frames."""

import ast
import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import yaml

from singer_verify.errors import SingerVerifyError
from singer_verify.features.feature import Feature
from singer_verify.features.normalisation import STATISTICS_KEY
from singer_verify.project_files import PROJECT_FOLDER
from singer_verify.safe_loading import OWN_PACKAGE, iterate_targets, rebuild_from_settings

# Raise it when a recipe of singer_verify computes other frames from the same settings, so that stores are recomputed.
RECIPE_CODE_VERSION = 1

# Defaults of the settings that every recipe may have besides those of its feature.
DEFAULT_FRAME_SETTINGS = {"trim_silence_db": None, "voiced_only": False, "normalise": "none"}
RECIPES_FOLDER = Path("conf/features")  # beside train.py


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
    from singer_verify.features.trimming import with_trimming  # it imports this module

    return with_trimming(rebuild_from_settings(get_feature_settings(recipe), "singer_verify.features"), recipe)


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
    version that is raised by hand; for other packages, the source of the module that defines the class is hashed,
    together with the modules of the same package that it imports.

    Returns:
        A version or a hash by class or package.
    """
    code = {OWN_PACKAGE: str(RECIPE_CODE_VERSION)}
    for target in iterate_targets(recipe):
        module_name, _, class_name = target.rpartition(".")
        if module_name.partition(".")[0] != OWN_PACKAGE:
            home = getattr(getattr(sys.modules.get(module_name), class_name, None), "__module__", module_name)
            sources = sorted((name, _read_source(name)) for name in _find_package_imports(home))
            code[target] = hashlib.sha256(repr(sources).encode()).hexdigest()
    return code


def _find_package_imports(module_name: str) -> set[str]:
    """Return the names of a module and of the modules of its package that it imports, directly or not."""
    package, waiting, modules = module_name.partition(".")[0], [module_name], set[str]()
    while waiting:
        name = waiting.pop()
        if name in modules or name not in sys.modules or name.partition(".")[0] != package:
            continue
        modules.add(name)
        parent = sys.modules[name].__package__
        for node in ast.walk(ast.parse(_read_source(name))):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                source = "." * node.level + (node.module or "")
                source = importlib.util.resolve_name(source, parent) if node.level else source
                waiting += [source, *(f"{source}.{alias.name}" for alias in node.names)]
    return modules


def _read_source(module_name: str) -> bytes:
    """Return the source of an imported module; empty for namespaces and compiled modules."""
    path = getattr(sys.modules[module_name], "__file__", None)
    return Path(path).read_bytes() if path and path.endswith(".py") else b""
