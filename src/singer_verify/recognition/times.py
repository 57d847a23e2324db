"""Times in a recording, as people read them."""

import math


def minutes(seconds: float) -> str:
    """For instance 83.4 → "1:23", 3723 → "62:03": minutes and whole seconds."""
    return f"{math.floor(seconds) // 60}:{math.floor(seconds) % 60:02d}"


def span(start_s: float, end_s: float) -> str:
    """For instance "1:23–1:25": from the second in which it begins to the one by which it is over."""
    return f"{minutes(start_s)}–{minutes(math.ceil(end_s))}"
