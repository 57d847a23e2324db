"""Times in a recording, as people read them."""

import math


def minutes(seconds: float) -> str:
    """For instance 83.4 → "1:23", 3723 → "62:03": minutes and whole seconds."""
    return f"{math.floor(seconds) // 60}:{math.floor(seconds) % 60:02d}"


def span(start_s: float, end_s: float) -> str:
    """For instance "1:23–1:25", each to the nearest second, so that spans which do not overlap are not shown to."""
    return f"{minutes(start_s + 0.5)}–{minutes(end_s + 0.5)}"
