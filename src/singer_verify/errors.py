"""The errors a user sees: their classes, the checks of settings that raise them, the wording they share.

A message reads `name=value: what was found; what was expected; what to do`.
"""

import math
from collections.abc import Mapping, Sequence


class SingerVerifyError(Exception):
    """A mistake in the input or the settings, which entry points print without a traceback before exiting non-zero."""


class UtteranceError(SingerVerifyError):
    """A recording that cannot be used; feature extraction logs it, skips it and counts it."""


def require_at_least(minimum: int, **settings: object) -> None:
    """Raise an error for each setting that is not an integer of at least `minimum`.

    Args:
        minimum: smallest allowed value.
        settings: values by name.

    Raises:
        SingerVerifyError: names the setting, its value and the smallest allowed value.
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise SingerVerifyError(f"{name}={value}: expected an integer of at least {minimum}.")


def require_between(low: float, high: float, **settings: object) -> None:
    """Raise an error for each setting that is not a finite number with `low` ≤ value ≤ `high`.

    Args:
        low: smallest allowed value.
        high: largest allowed value.
        settings: values by name.

    Raises:
        SingerVerifyError: names the setting, its value and the allowed range.
    """
    for name, value in settings.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or not low <= value <= high:  # type: ignore[operator]
            raise SingerVerifyError(f"{name}={value}: expected a number between {low:g} and {high:g}.")


def require_finite(**settings: object) -> None:
    """Raise an error for each setting that is not a finite number.

    Args:
        settings: values by name.

    Raises:
        SingerVerifyError: names the setting and its value.
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise SingerVerifyError(f"{name}={value}: expected a finite number.")


def require_choice(allowed: tuple[str, ...], **settings: object) -> None:
    """Raise an error for each setting that is not one of `allowed`.

    Args:
        allowed: permitted values.
        settings: values by name.

    Raises:
        SingerVerifyError: names the setting, its value and the permitted values.
    """
    for name, value in settings.items():
        if value not in allowed:
            raise SingerVerifyError(f"{name}={value}: expected one of {', '.join(allowed)}.")


def format_names(names: Sequence[str], max_named: int = 3) -> str:
    """List a few names in a message, and how many there are besides: a, b, c and 4 others.

    Args:
        names: the names.
        max_named: number of them that are named.
    """
    listed = ", ".join(names[:max_named])
    return listed if len(names) <= max_named else f"{listed} and {len(names) - max_named} others"


def require_attributes(name: str, part: object, expected: Mapping[str, str]) -> None:
    """Raise an error if an exchangeable part lacks an attribute that its Protocol asks for.

    Args:
        name: name of the part in the settings, for example `encoder`.
        part: an object of any class.
        expected: a short description of each expected attribute, by name.

    Raises:
        SingerVerifyError: names the part, its class and the first missing attribute.
    """
    for attribute, description in expected.items():
        if not hasattr(part, attribute):
            kind = type(part)
            raise SingerVerifyError(
                f"{name}: {kind.__module__}.{kind.__qualname__} has no {attribute}; expected {description} "
                f"(see docs/extending.md)."
            )


def format_installation(extra: str) -> str:
    """Return the command that installs an extra, with the versions that this package is tested with."""
    return f"pip install -c constraints.txt -e '.[{extra}]' (in the folder of its source code)"
