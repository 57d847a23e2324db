"""How long several ways to do the same take, in turns, so that a machine that slows down favours none."""

import statistics
import time
from collections.abc import Callable, Sequence


def seconds_in_turns(ways: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Median duration of each way, after one call that is not counted."""
    durations: list[list[float]] = [[] for _ in ways]
    for way in ways:
        way()
    for _ in range(repeats):
        for way, its in zip(ways, durations, strict=True):
            start = time.perf_counter()
            way()
            its.append(time.perf_counter() - start)
    return [statistics.median(its) for its in durations]
