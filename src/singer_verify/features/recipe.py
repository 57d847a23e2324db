"""A whole recipe: the settings of a feature, and what any feature may have done to its frames."""

from typing import Any

from singer_verify.features.normalisation import STATISTICS_KEY

# What a recipe that does not name them has.
PREPARATION = {"trim_silence_db": None, "voiced_only": False, "normalise": "none"}


def feature_settings(recipe: dict[str, Any]) -> dict[str, Any]:
    """Of a whole recipe, what the feature's class takes."""
    return {name: value for name, value in recipe.items() if name not in (*PREPARATION, STATISTICS_KEY)}


def preparation(recipe: dict[str, Any]) -> dict[str, Any]:
    """Of a whole recipe, what any feature may have; a recipe that does not name it has it not."""
    return {name: recipe.get(name, default) for name, default in PREPARATION.items()}


def compared(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe as it is compared with another: every setting named, and without statistics, which follow from data."""
    return feature_settings(recipe) | preparation(recipe)
