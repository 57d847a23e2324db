"""Which process trains a run, and whether it still does."""

import os
import socket
from typing import Any

import psutil


def this_process() -> dict[str, Any]:
    """What tells this process from every other: its number, its machine, and when it began (seconds since 1970)."""
    return {"id": os.getpid(), "host": socket.gethostname(), "began": psutil.Process().create_time()}


def is_alive(process: dict[str, Any]) -> bool | None:
    """Whether a recorded process still runs; None where that cannot be told, because it ran on another machine.

    A number that was given to a new process since does not count: it began at another time.
    """
    if process["host"] != socket.gethostname():
        return None
    try:
        found = psutil.Process(process["id"])
        began_then = abs(found.create_time() - process["began"]) < 1.0
        return began_then and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
