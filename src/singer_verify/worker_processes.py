"""Processes that a data loader starts: how many, in which way, how they meet signals, how their death is recognised."""

import atexit
import multiprocessing
import os
import signal
import sys

TERMINATION_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def ignore_signals_in_worker(worker: int) -> None:
    """Run in a worker as it starts: a signal to all processes of a job is answered by the training, which ends it."""
    for number in TERMINATION_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def count_available_cores() -> int:
    """Cores that this process may use; a container or a scheduler leaves it fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_start_method(num_workers: int) -> str | None:
    """How a data loader shall start its workers; None is Python's own way.

    A job of a sweep may run in a process of joblib's, whose way to start others is not one for a loader's workers.
    """
    if num_workers == 0 or multiprocessing.get_start_method() != "loky":
        return None
    return "fork" if sys.platform == "linux" else "spawn"


@atexit.register
def kill_leftover_workers() -> None:
    """Python ends its daemons with SIGTERM when it exits, which these ignore, and then would wait for them."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def is_worker_death(error: Exception) -> bool:
    """Whether this error means that a worker was killed (for want of memory, most often) or exited."""
    if isinstance(error, RuntimeError):
        return str(error).startswith("DataLoader worker (pid")
    return isinstance(error, ConnectionError | EOFError)  # it died while it handed over a batch
