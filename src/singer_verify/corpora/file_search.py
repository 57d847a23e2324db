"""The files below a folder, leaving out hidden and system folders; each folder is read once."""

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from singer_verify.errors import SingerVerifyError
from singer_verify.logging_once import log_once, warn_once

log = logging.getLogger(__name__)
# Folders that operating systems, archive programs and network drives add; they hold no recordings of their own.
SYSTEM_FOLDERS = frozenset(
    {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
)


@dataclass
class FoundFiles:
    """Files below a folder, and what was passed over.

    Attributes:
        files: paths of the files, in no particular order; links that lead nowhere are among them.
        real_paths: for each file, where it lies once all links are followed.
        linked_files: those of the files that are links.
        hidden_folders: folders that were passed over because of their names.
        linked_folders: links to folders that are read anyway, for instance to the folder they lie in.
    """

    files: list[Path] = field(default_factory=list)
    real_paths: list[str] = field(default_factory=list)
    linked_files: list[Path] = field(default_factory=list)
    hidden_folders: list[Path] = field(default_factory=list)
    linked_folders: list[Path] = field(default_factory=list)


def is_passed_over(folder_name: str) -> bool:
    """Return whether a folder is hidden or belongs to the system, so that its files are not recordings of a corpus."""
    return folder_name.startswith(".") or folder_name in SYSTEM_FOLDERS


def find_files(folder: Path) -> FoundFiles:
    """Find the files below a folder; links are followed, and each folder is read once.

    Raises:
        SingerVerifyError: a folder cannot be read.
    """
    found, visited = FoundFiles(), set[str]()
    folders, linked_folders = [str(folder)], list[str]()
    while folders or linked_folders:  # linked folders last, so that a file is found in the folder it lies in
        directory = folders.pop() if folders else linked_folders.pop(0)
        real = os.path.realpath(directory)
        if real in visited:
            found.linked_folders.append(Path(directory))
            continue
        visited.add(real)
        for entry in list_folder(Path(directory)):
            if is_folder(entry):
                if is_passed_over(entry.name):
                    found.hidden_folders.append(Path(entry.path))
                else:
                    (linked_folders if entry.is_symlink() else folders).append(entry.path)
            else:
                path, is_link = Path(entry.path), entry.is_symlink()
                found.files.append(path)
                found.real_paths.append(os.path.realpath(path) if is_link else os.path.join(real, entry.name))
                found.linked_files += [path] if is_link else []
    return found


def find_recordings(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Find the files below a folder that have one of some suffixes, sorted; what is passed over is logged.

    Args:
        folder: the folder; hidden and system folders below it are passed over, and hidden files.
        suffixes: the suffixes in lower case.

    Raises:
        SingerVerifyError: a folder cannot be read.
    """
    found = find_files(folder)
    warn_passed_over(folder, "hidden or system folders", found.hidden_folders)
    warn_passed_over(folder, "links to folders that are read anyway", found.linked_folders)
    log_other_files(folder, (path for path in found.files if path.suffix.lower() not in suffixes))
    return sorted(path for path in found.files if not path.name.startswith(".") and path.suffix.lower() in suffixes)


def list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """Return what lies in a folder, sorted by name.

    Raises:
        SingerVerifyError: the folder cannot be read.
    """
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise SingerVerifyError(
            f"{folder}: cannot be read ({error.strerror}); make it readable, or move it out of the corpus."
        ) from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; a link to itself is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def require_link_target(path: Path) -> os.stat_result:
    """Return the status of a file, or of what a link leads to.

    Raises:
        SingerVerifyError: it cannot be accessed, for instance a link to a file that was moved.
    """
    try:
        return os.stat(path)
    except OSError as error:
        to_what = f" links to {os.readlink(path)}, which" if path.is_symlink() else ""
        raise SingerVerifyError(
            f"{path}:{to_what} cannot be read ({error.strerror}); restore the file, delete this path, or prepare "
            f"the corpus again."
        ) from error


def warn_passed_over(where: Path, what: str, paths: list[Path]) -> None:
    """Say how many paths were passed over, and name the first; nothing if there is none."""
    if paths:
        warn_once(log, f"{where}: {len(paths)} {what} passed over (the first: {min(paths)}).")


def log_other_files(where: Path, paths: Iterable[Path]) -> None:
    """Say how many files are passed over because their names are not those of recordings, by their suffixes.

    Args:
        where: the folder.
        paths: those files; hidden ones are not counted.
    """
    counts = Counter(path.suffix.lower() or "without a suffix" for path in paths if not path.name.startswith("."))
    if counts:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
        log_once(log, f"{where}: {counts.total()} other files passed over ({kinds}).")
