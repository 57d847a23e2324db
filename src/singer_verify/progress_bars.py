"""Progress bars, which are drawn on a terminal or in a notebook, and not in a file or a pipe."""

from collections.abc import Iterable
from typing import TypeVar

import rich
from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def can_draw(console: Console) -> bool:
    """Return whether what a console shows can be drawn over: that of a terminal or of a notebook can."""
    return console.is_terminal or console.is_jupyter


def track_progress(items: Iterable[Item], description: str, console: Console | None = None) -> Iterable[Item]:
    """Iterate over items with a progress bar that stays when it is done.

    Args:
        items: what is iterated over.
        description: what is done with them.
        console: where the bar is drawn; None takes rich's own.
    """
    console = console or rich.get_console()
    return track(items, description, console=console, disable=not can_draw(console))
