"""The one error that a user sees: a sentence that says what was found, what was expected and what to do."""

import math


class SingerVerifyError(Exception):
    """A mistake in the input or the settings. Entries print its sentence and exit non-zero, without a traceback."""


class UtteranceError(SingerVerifyError):
    """One recording cannot be used. Extraction names it, skips it and counts it."""


def require_at_least(minimum: int, **settings: object) -> None:
    """Refuse a setting that is not a whole number of at least `minimum`.

    Raises:
        SingerVerifyError: naming the setting, its value and the smallest value allowed.
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise SingerVerifyError(f"{name}={value}: expected a whole number of at least {minimum}.")


def require_between(low: float, high: float, **settings: object) -> None:
    """Refuse a setting that is not a number with `low` ≤ value ≤ `high`.

    Raises:
        SingerVerifyError: naming the setting, its value and the range allowed.
    """
    for name, value in settings.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or not low <= value <= high:  # type: ignore[operator]
            raise SingerVerifyError(f"{name}={value}: expected a number between {low:g} and {high:g}.")


def require_finite(**settings: object) -> None:
    """Refuse a setting that is not a finite number.

    Raises:
        SingerVerifyError: naming the setting and its value.
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise SingerVerifyError(f"{name}={value}: expected a finite number.")


def require_choice(allowed: tuple[str, ...], **settings: object) -> None:
    """Refuse a setting that is not one of `allowed`.

    Raises:
        SingerVerifyError: naming the setting, its value and the values allowed.
    """
    for name, value in settings.items():
        if value not in allowed:
            raise SingerVerifyError(f"{name}={value}: expected one of {', '.join(allowed)}.")
