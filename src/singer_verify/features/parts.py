"""Recipes that other recipes are made of."""

from typing import Any

from singer_verify.errors import SingerVerifyError
from singer_verify.features import Feature, feature_from_recipe
from singer_verify.features.naming import read_recipe


def part_from(given: Any) -> Feature:
    """A part of a recipe, built.

    Args:
        given: its name, as `features=` has it; or its settings; or built already.

    Raises:
        SingerVerifyError: no such recipe, none of ours, made of itself, or normalised on its own.
    """
    if isinstance(given, Feature):
        return given
    recipe = read_recipe(given) if isinstance(given, str) else dict(given)
    if recipe.get("normalise", "none") != "none":
        raise SingerVerifyError(
            f"a part of a recipe has normalise: {recipe['normalise']}; expected none, for what is joined is normalised "
            f"as a whole: leave it out, and set features.normalise."
        )
    try:
        return feature_from_recipe(recipe)
    except RecursionError as error:
        raise SingerVerifyError(f"features={given}: is made of itself; name other recipes in its yaml.") from error
