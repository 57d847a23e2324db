"""Timing of alternative implementations in alternation, so that a machine that slows down favours none of them."""

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

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
    """Measure the time from the end of one training step to the end of the next, waiting for data included.

    On a GPU it is the time between the ends of the steps' kernels, so that measuring makes nothing wait.
    """

    def __init__(self) -> None:
        self.ends_s: list[float] = []
        self.events: list[torch.cuda.Event] = []

    def on_train_batch_end(self, *_: object) -> None:
        if DEVICE.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.events.append(event)
        else:
            self.ends_s.append(time.perf_counter())

    def compute_median_step_s(self) -> float:
        """Return the median duration of a step, without that of the second, in which kernels are chosen."""
        synchronize()
        on_gpu_s = [before.elapsed_time(after) / 1000.0 for before, after in pairwise(self.events)]
        self.events.clear()
        return statistics.median([*on_gpu_s, *(after - before for before, after in pairwise(self.ends_s))][1:])
