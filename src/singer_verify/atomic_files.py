"""Atomic file writing: contents go to temporary files next to their targets, renamed only if all went well."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from singer_verify.errors import SingerVerifyError


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether a file could not be written for lack of space, by quota, or for its size."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_write_many(*paths: Path) -> Iterator[list[Path]]:
    """Yield temporary paths next to `paths`; rename them to `paths` on success and delete them on failure.

    Args:
        paths: files to create or replace.

    Raises:
        OSError: a path is a folder, or a temporary file cannot be renamed; errors of the body propagate.
    """
    temporaries = [path.with_name(f"{path.name}.part") for path in paths]
    for path in paths:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, f"{path.name} is a folder", str(path))
    try:
        yield temporaries
        for path, temporary in zip(paths, temporaries, strict=True):
            os.replace(temporary, path)
    finally:
        for temporary in temporaries:
            with suppress(OSError):  # already renamed, never created, or its folder does not exist
                temporary.unlink()


@contextmanager
def atomic_write(path: Path, option: str = "") -> Iterator[Path]:
    """Yield a temporary path next to `path`, like `atomic_write_many`, with errors a user can read.

    Args:
        path: file to create or replace.
        option: command line option that the path was given with, for messages.

    Raises:
        SingerVerifyError: `path` is a folder, its parent does not exist, or it cannot be written; an existing file is
            left untouched.
    """
    require_output_path(path, option)
    try:
        with atomic_write_many(path) as (temporary,):
            yield temporary
    except OSError as error:
        raise SingerVerifyError(
            f"{_format_output_path(path, option)}: cannot be written ({error.strerror or error}), any existing file is "
            f"unchanged; free some space or give another path."
        ) from error


def write_bytes_atomically(path: Path, content: bytes, option: str = "") -> None:
    """Write one file, with the arguments and errors of `atomic_write`."""
    with atomic_write(path, option) as temporary:
        temporary.write_bytes(content)


def write_files_atomically(contents: dict[str, bytes], folder: Path, option: str = "--out") -> None:
    """Write several files into a folder, all or none.

    Args:
        contents: bytes of each file, by path relative to the folder.
        folder: target folder, created if missing.
        option: command line option that the folder was given with, for messages.

    Raises:
        SingerVerifyError: the folder cannot be written to; existing files are left untouched.
    """
    if folder.exists() and not folder.is_dir():
        raise SingerVerifyError(f"{option} {folder}: is a file; expected a folder, give another path.")
    try:
        with atomic_write_many(*(folder / name for name in contents)) as temporaries:
            for temporary, content in zip(temporaries, contents.values(), strict=True):
                temporary.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_bytes(content)
    except OSError as error:
        raise SingerVerifyError(
            f"{option} {folder}: cannot be written ({error.strerror or error}); free some space or give another "
            f"folder with {option}."
        ) from error


@contextmanager
def lock_file(path: Path, busy: str = "") -> Iterator[None]:
    """Keep other processes that lock the same path from changing it within this context.

    Args:
        path: what is to be changed; a file beside it is locked.
        busy: what to say where another process holds it; empty waits for that process.

    Raises:
        SingerVerifyError: its folder cannot be written to, or another process holds it.
    """
    lock_path = path.with_name(f"{path.name}.lock")
    lock = FileLock(lock_path, timeout=0 if busy else -1)
    try:
        lock_path.touch()  # fails at once where the folder is not writable; FileLock may retry forever
        lock.acquire()
    except Timeout as error:
        raise SingerVerifyError(f"{path}: {busy}") from error
    except OSError as error:
        raise SingerVerifyError(
            f"{path}: its folder cannot be written to ({error.strerror or error}); choose another."
        ) from error
    try:
        yield
    finally:
        # While it is held: FileLock makes a process that waits for a removed file start over.
        with suppress(OSError):  # systems that keep open files, where FileLock removes it
            lock_path.unlink()
        lock.release()


def require_output_path(path: Path, option: str = "") -> None:
    """Check that a file can be created at `path`, before the work whose result it will hold.

    Raises:
        SingerVerifyError: `path` is a folder, or its parent does not exist.
    """
    if os.path.isdir(path):
        raise SingerVerifyError(
            f"{_format_output_path(path, option)}: is a folder; expected a file, give another path."
        )
    if not os.path.isdir(parent := path.absolute().parent):
        raise SingerVerifyError(f"{_format_output_path(path, option)}: no such folder {parent}; create it first.")


def _format_output_path(path: Path, option: str) -> str:
    return f"{option} {path}".strip()
