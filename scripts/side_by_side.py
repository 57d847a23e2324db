"""How long several ways to do the same take, in turns, so that a machine that slows down favours none."""

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytorch_lightning as pl
import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


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


class StepClock(pl.Callback):
    """Time from the end of one training step to the end of the next: everything a step costs, waiting included."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: object) -> None:
        synchronize()
        self.ends.append(time.perf_counter())

    def seconds(self) -> float:
        return statistics.median(np.diff(self.ends)[1:].tolist())
