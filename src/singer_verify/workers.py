"""Processes that a data loader starts: how many, how they meet signals, and how their death is recognised."""

import atexit
import multiprocessing
import os
import signal

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def leave_signals_to_the_training(worker: int) -> None:
    """Run in a worker as it starts: a signal to all processes of a job is answered by the training, which ends it."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def num_cores() -> int:
    """Cores that this process may use; a container or a scheduler leaves it fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@atexit.register
def end_left_over_workers() -> None:
    """Python ends its daemons with SIGTERM when it exits, which these ignore, and then would wait for them."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def is_worker_death(error: Exception) -> bool:
    """Whether this error means that a worker was killed (for want of memory, most often) or exited."""
    if isinstance(error, RuntimeError):
        return str(error).startswith("DataLoader worker (pid")
    return isinstance(error, ConnectionError | EOFError)  # it died while it handed over a batch
