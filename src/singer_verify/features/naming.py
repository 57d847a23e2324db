"""Recipes by name, as `features=` on the command line of a training names them."""

from pathlib import Path
from typing import Any

import yaml

from singer_verify.errors import SingerVerifyError

NAMED_RECIPES = Path("conf/features")  # beside train.py, in the folder where both commands are run


def read_recipe(name: str) -> dict[str, Any]:
    """The recipe in a yaml file.

    Args:
        name: `mel40` for conf/features/mel40.yaml, or the path of a yaml file.

    Raises:
        SingerVerifyError: no such recipe, or not a recipe.
    """
    path = Path(name) if name.endswith(".yaml") else NAMED_RECIPES / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(each.stem for each in NAMED_RECIPES.glob("*.yaml")))
        raise SingerVerifyError(
            f"features={name}: no file {path}; expected {names or f'a name in {NAMED_RECIPES}'} or a yaml's path."
        )
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SingerVerifyError(f"{path}: is not readable yaml ({str(error).splitlines()[0]}).") from error
    if not isinstance(recipe, dict):
        raise SingerVerifyError(f"{path}: holds no settings; expected a recipe like conf/features/mel40.yaml.")
    return recipe
