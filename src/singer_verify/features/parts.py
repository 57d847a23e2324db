"""Recipes that other recipes are made of."""

from typing import Any

from singer_verify.features import Feature, feature_from_recipe
from singer_verify.features.naming import read_recipe


def part_from(given: Any) -> Feature:
    """A part of a recipe, built.

    Args:
        given: its name, as `features=` has it; or its settings; or built already.

    Raises:
        SingerVerifyError: no such recipe, or none of ours.
    """
    if isinstance(given, Feature):
        return given
    return feature_from_recipe(read_recipe(given) if isinstance(given, str) else dict(given))
