"""Worker processes of data loaders: number, start method, sockets, signals, and how to recognise their death."""

import atexit
import gc
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from singer_verify.errors import SingerVerifyError

DEATH_SIGNAL_S = 0.5  # within which the system tells of the death of a process
# Processes hand over arrays by sockets named listener-xxxxxxxx, in a folder named pymp-xxxxxxxx of the temporary files.
MAX_SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103  # of the system; more, and a worker waits forever
SOCKET_NAME_BYTES, SOCKET_FOLDER_NAME_BYTES = len("/listener-xxxxxxxx"), len("/pymp-xxxxxxxx")
MAX_TEMPORARY_PATH_BYTES = MAX_SOCKET_PATH_BYTES - SOCKET_NAME_BYTES - SOCKET_FOLDER_NAME_BYTES
SHORT_TEMPORARY_FOLDERS = ("/tmp", "/var/tmp")
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


def shorten_socket_paths() -> None:
    """Keep the sockets of worker processes in a short folder, where the folder of temporary files has too long a path.

    All other temporary files stay where they are. For programs, before they start workers; a library import leaves this
    alone, and `require_short_socket_paths` says what to do.
    """
    if _has_sockets_in_files() and not _is_short(tempfile.gettempdir(), MAX_TEMPORARY_PATH_BYTES):
        before = tempfile.gettempdir()
        for folder in (*SHORT_TEMPORARY_FOLDERS, os.environ.get("XDG_RUNTIME_DIR", "")):
            if not _is_short(folder, MAX_TEMPORARY_PATH_BYTES) or not Path(folder or "/nowhere").is_dir():
                continue
            tempfile.tempdir = folder
            try:
                multiprocessing.util.get_temp_dir()  # which is made once, for this process and its workers
            except OSError:  # not writable
                continue
            finally:
                tempfile.tempdir = before
            return


def require_short_socket_paths() -> None:
    """Refuse to start workers that could not open their sockets, and would wait forever.

    Raises:
        SingerVerifyError: the folder of temporary files has too long a path.
    """
    if _has_sockets_in_files():
        folder = multiprocessing.util.get_temp_dir()
        if not _is_short(folder, MAX_SOCKET_PATH_BYTES - SOCKET_NAME_BYTES):
            raise SingerVerifyError(
                f"TMPDIR={os.path.dirname(folder)}: worker processes cannot open sockets in a folder with so long a "
                f"path; set TMPDIR to one of at most {MAX_TEMPORARY_PATH_BYTES} bytes, for instance TMPDIR=/tmp."
            )


def _has_sockets_in_files() -> bool:
    return multiprocessing.connection.default_family == "AF_UNIX"  # type: ignore[attr-defined]


def _is_short(path: str, max_bytes: int) -> bool:
    return len(os.fsencode(path)) <= max_bytes


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
