"""Timing of alternative implementations in alternation, so that a machine that slows down favours none of them."""

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytorch_lightning as pl
import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def measure_interleaved_s(functions: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Return the median duration of each function, called in alternation after one untimed call."""
    durations: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    for _ in range(repeats):
        for function, times in zip(functions, durations, strict=True):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in durations]


class StepClock(pl.Callback):
    """Measures the time from the end of one training step to the end of the next, waiting for data included."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: object) -> None:
        synchronize()
        self.ends.append(time.perf_counter())

    def compute_median_step_s(self) -> float:
        """Return the median duration of a step, without the first."""
        return statistics.median(np.diff(self.ends)[1:].tolist())
