"""Sockets by which worker processes hand over arrays: their paths must be short, or a worker waits forever."""

import multiprocessing.connection
import multiprocessing.util
import os
import sys
import tempfile
from pathlib import Path

from singer_verify.errors import SingerVerifyError

# They are named listener-xxxxxxxx, in a folder named pymp-xxxxxxxx of the temporary files.
MAX_SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103  # of the system; more, and a worker waits forever
SOCKET_NAME_BYTES, SOCKET_FOLDER_NAME_BYTES = len("/listener-xxxxxxxx"), len("/pymp-xxxxxxxx")
MAX_TEMPORARY_PATH_BYTES = MAX_SOCKET_PATH_BYTES - SOCKET_NAME_BYTES - SOCKET_FOLDER_NAME_BYTES
SHORT_TEMPORARY_FOLDERS = ("/tmp", "/var/tmp")


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
