"""Files written whole or not at all: beside their places first, and moved there when nothing went wrong."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from singer_verify.errors import SingerVerifyError


@contextmanager
def atomic_write_many(*paths: Path) -> Iterator[list[Path]]:
    """Neighbours of files, to be written in their stead. At the end they take the files' places, or are removed.

    Raises:
        OSError: a path is a folder, or a part cannot be moved; and whatever is raised within.
    """
    parts = [path.with_name(f"{path.name}.part") for path in paths]
    for path in paths:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, f"{path.name} is a folder", str(path))
    try:
        yield parts
        for path, part in zip(paths, parts, strict=True):
            os.replace(part, path)
    finally:
        for part in parts:
            with suppress(OSError):  # moved already, never made, or in a folder that is none
                part.unlink()


@contextmanager
def atomic_write(path: Path, setting: str = "") -> Iterator[Path]:
    """The neighbour of one file, as of `parts_of`; what goes wrong is said in a sentence.

    Args:
        path: of the file.
        setting: by which a user chose it, if one did.

    Raises:
        SingerVerifyError: it is a folder, lies in none, or cannot be written; what was there before is still there.
    """
    require_output_path(path, setting)
    try:
        with atomic_write_many(path) as (part,):
            yield part
    except OSError as error:
        raise SingerVerifyError(
            f"{_format_output_path(path, setting)}: cannot be written ({error.strerror or error}), and is as it was before; free "
            f"some space, or name another place."
        ) from error


def write_bytes_atomically(path: Path, content: bytes, setting: str = "") -> None:
    """Write one file; arguments and errors as of `atomic_write`."""
    with atomic_write(path, setting) as part:
        part.write_bytes(content)


def write_files_atomically(contents: dict[str, bytes], folder: Path, setting: str = "--out") -> None:
    """Write all of several files, or none.

    Args:
        contents: of the files, by their path in the folder.
        folder: made where it is missing.
        setting: by which a user chose the folder.

    Raises:
        SingerVerifyError: the folder cannot be written to; what was there before is still there.
    """
    if folder.exists() and not folder.is_dir():
        raise SingerVerifyError(f"{setting} {folder}: is a file; give the name of a folder.")
    try:
        with atomic_write_many(*(folder / name for name in contents)) as parts:
            for part, content in zip(parts, contents.values(), strict=True):
                part.parent.mkdir(parents=True, exist_ok=True)
                part.write_bytes(content)
    except OSError as error:
        raise SingerVerifyError(
            f"{setting} {folder}: cannot be written ({error.strerror or error}); free some space, or name another "
            f"folder with {setting}."
        ) from error


def require_output_path(path: Path, setting: str = "") -> None:
    """Refuse what cannot become a file, before the work that is to go into it.

    Raises:
        SingerVerifyError: it is a folder, or lies in none.
    """
    if os.path.isdir(path):
        raise SingerVerifyError(f"{_format_output_path(path, setting)}: is a folder; give the name of a file.")
    if not os.path.isdir(parent := path.absolute().parent):
        raise SingerVerifyError(f"{_format_output_path(path, setting)}: no such folder {parent}; make it first.")


def _format_output_path(path: Path, setting: str) -> str:
    return f"{setting} {path}".strip()
