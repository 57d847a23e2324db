"""Recipes by name, as `features=` on the command line of a training names them."""

from pathlib import Path
from typing import Any

from singer_verify.errors import SingerVerifyError
from singer_verify.features.settings_file import read_settings
from singer_verify.shipped import SHIPPED

NAMED_RECIPES = Path("conf/features")  # beside train.py


def read_recipe(name: str) -> dict[str, Any]:
    """The recipe in a yaml file.

    Args:
        name: `mel40` for conf/features/mel40.yaml in the current folder or else as shipped, or the path of a
            yaml file.

    Raises:
        SingerVerifyError: no such recipe, or not a recipe.
    """
    folder = NAMED_RECIPES if NAMED_RECIPES.is_dir() else SHIPPED / NAMED_RECIPES
    path = Path(name) if name.endswith(".yaml") else folder / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(each.stem for each in folder.glob("*.yaml")))
        raise SingerVerifyError(
            f"features={name}: no file {path}; expected {names or f'a name in {NAMED_RECIPES}'} or a yaml's path."
        )
    recipe = read_settings(path)
    if not isinstance(recipe, dict):
        raise SingerVerifyError(f"{path}: holds no settings; expected a recipe like conf/features/mel40.yaml.")
    return recipe
