"""Worker processes of data loaders: their number, start method and signals, and how to recognise their death."""

import atexit
import gc
import multiprocessing
import os
import signal
import sys
import time
from contextlib import suppress

from singer_verify.worker_sockets import require_short_socket_paths

DEATH_SIGNAL_S = 0.5  # within which the system tells of the death of a process
TERMINATION_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def prepare_worker(worker: int) -> None:
    """Ignore termination signals in a data loader worker, and leave alone what it inherits (a `worker_init_fn`).

    A scheduler signals all processes of a job; only the training process responds, and shuts its workers down itself.
    What is left of an earlier training on a GPU would end a forked worker that collects it as garbage.

    Args:
        worker: index of the worker, unused.
    """
    for number in TERMINATION_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()


def count_available_cores() -> int:
    """Return the number of cores this process may use, which a container or scheduler can limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_start_method(num_workers: int) -> str | None:
    """Return the start method for a data loader's workers; None means Python's default.

    Under joblib, a sweep's job runs with the start method `loky`, which data loader workers cannot use.

    Args:
        num_workers: number of loader processes.

    Raises:
        SingerVerifyError: see `require_short_socket_paths`.
    """
    if num_workers > 0:
        require_short_socket_paths()
    if num_workers == 0 or multiprocessing.get_start_method() != "loky":
        return None
    return "fork" if sys.platform == "linux" else "spawn"


@atexit.register
def kill_leftover_workers() -> None:
    """Kill workers that are still alive at exit.

    Python would send them SIGTERM, which they ignore, and then wait for them forever.
    """
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def is_worker_death(error: Exception) -> bool:
    """Return whether an error means that a data loader worker was killed (usually out of memory) or exited."""
    if isinstance(error, RuntimeError):
        return str(error).startswith("DataLoader worker (pid")
    return isinstance(error, ConnectionError | EOFError)  # it died while sending a batch


def wait_for_death_signal() -> None:
    """Let the signal of a worker's death arrive, where a broken connection told of it first.

    Torch's handler of that signal raises an error of the same death once more, wherever it finds the main thread.
    """
    with suppress(RuntimeError):
        time.sleep(DEATH_SIGNAL_S)
