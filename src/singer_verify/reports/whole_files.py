"""The files of a report: all of them, each of them whole, or none."""

import os
from pathlib import Path

from singer_verify.errors import SingerVerifyError


def write_files(contents: dict[str, bytes], folder: Path, setting: str = "--out") -> None:
    """Write beside their places first, and move them there when all are written.

    Args:
        contents: of the files, by their path in the folder.
        folder: made where it is missing.
        setting: by which a user chose the folder.

    Raises:
        SingerVerifyError: the folder cannot be written to; what was there before is still there.
    """
    parts = {folder / name: (folder / name).with_name(f"{Path(name).name}.part") for name in contents}
    try:
        for (path, part), content in zip(parts.items(), contents.values(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)
        for path, part in parts.items():
            os.replace(part, path)
    except OSError as error:
        _remove(list(parts.values()))
        raise SingerVerifyError(
            f"{setting} {folder}: cannot be written ({error.strerror or error}); free some space, or name another "
            f"folder with {setting}."
        ) from error


def _remove(parts: list[Path]) -> None:
    for part in parts:
        try:
            part.unlink(missing_ok=True)
        except OSError:  # its folder is a file, for instance
            continue
