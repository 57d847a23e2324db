"""Readers of data sets as they are downloaded: one file each, named as `singer-verify prepare` takes it.

A reader of another package is named by its import path: `my_package.my_reader`, a module, or
`my_package.readers.MyReader`, a class.
"""

import importlib
import inspect
import logging
import os
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from singer_verify.audio import AUDIO_SUFFIXES
from singer_verify.corpora.corpus import Recording
from singer_verify.corpora.file_search import find_files, find_recordings
from singer_verify.errors import SingerVerifyError, require_attributes
from singer_verify.safe_loading import add_project_folder

log = logging.getLogger(__name__)

MAX_LEVELS_ABOVE = 5  # that are tried where a folder within a data set is given
MatchedFiles = list[tuple[str, re.Match[str]]]
READER_ATTRIBUTES = {
    "PATH_PATTERN": "a compiled regular expression that finds utterances by their paths",
    "parse_recordings": "a function of the data set's folder and its utterances that returns Recordings",
}


@runtime_checkable
class Reader(Protocol):
    """A reader of a data set: a module, or a class whose constructor takes no arguments.

    Law: the singer is told from the folder or from a table, never guessed from a part of a name; a file whose name
    contradicts its folder is reported. `parse_recordings` is given the folder and, for each audio file below it whose
    path relative to it `PATH_PATTERN` finds, path and match, sorted by path. Its further arguments, with defaults, are
    the reader's own options: `singer-verify prepare ... --option name=value`.

    Example:
        PATH_PATTERN = re.compile(r"^(?P<singer>[^/]+)/take(?P<take>[0-9]+)[.]wav$")

        def parse_recordings(source, matches):
            return [Recording(source / path, match["singer"], f"{match['take']}.wav") for path, match in matches]
    """

    PATH_PATTERN: re.Pattern[str]

    @property
    def parse_recordings(self) -> Callable[..., list[Recording]]: ...


def list_reader_names() -> list[str]:
    """List the names of the readers of this package, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_reader(name: str) -> Reader:
    """Import a reader by its name, or by the import path of a module or class of any package.

    Raises:
        SingerVerifyError: no such reader, or it lacks an attribute of `Reader`.
    """
    if name in list_reader_names():
        return _require_reader(name, importlib.import_module(f"{__name__}.{name}"))
    names = ", ".join(list_reader_names())
    if "." not in name or not all(part.isidentifier() for part in name.split(".")):
        raise SingerVerifyError(
            f"{name}: no such reader; expected one of {names}, or the import path of your own, my_package.my_reader."
        )
    add_project_folder(name.partition(".")[0])
    module_name, _, last = name.rpartition(".")
    try:
        parent = importlib.import_module(module_name)
        reader = getattr(parent, last, None) or importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # a module that the reader itself imports
        raise SingerVerifyError(
            f"{name}: cannot be imported ({error}); expected one of {names}, or the import path of a module or class."
        ) from error
    return _require_reader(name, reader() if isinstance(reader, type) else reader)


def _require_reader(name: str, reader: Any) -> Reader:
    require_attributes(name, reader, READER_ATTRIBUTES)
    return reader


def read_recordings(reader: str, source: Path, settings: dict[str, Any]) -> list[Recording]:
    """Find the recordings of a data set.

    Args:
        reader: name from `list_reader_names()`, or an import path, see `load_reader`.
        source: folder of the data set.
        settings: the reader's own options, by name.

    Raises:
        SingerVerifyError: no such reader, folder or option, or a folder that is not this data set.
    """
    module = load_reader(reader)
    if not source.is_dir():
        raise SingerVerifyError(f"{source}: no such folder; expected the folder of the data set.")
    _check_reader_settings(reader, module.parse_recordings, settings)
    paths = [path.relative_to(source).as_posix() for path in find_recordings(source, AUDIO_SUFFIXES)]
    if not paths:
        raise SingerVerifyError(f"{source}: holds no audio file; expected {' '.join(sorted(AUDIO_SUFFIXES))}.")
    matches = _match_paths(paths, module.PATH_PATTERN)
    if not matches:
        raise SingerVerifyError(
            f"{source}: none of its {len(paths)} audio files is named as in {reader} (the first: {paths[0]})"
            f"{_suggest_folder_above(reader, source, paths) or _suggest_reader(reader, paths)}."
        )
    if strays := sorted(set(paths) - {path for path, _ in matches}):
        log.warning(
            "%s: %d of %d audio files are not named as in %s, and left out (the first: %s).",
            *(source, len(strays), len(paths), reader, strays[0]),
        )
    return module.parse_recordings(source, matches, **settings)


def _match_paths(paths: list[str], names: re.Pattern[str]) -> MatchedFiles:
    return [(path, match) for path in paths if (match := names.search(path))]


def _check_reader_settings(reader: str, recordings: Callable[..., Any], settings: dict[str, Any]) -> None:
    option_names = list(inspect.signature(recordings).parameters)[2:]
    if unknown := [name for name in settings if name not in option_names]:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in option_names) or "none"
        raise SingerVerifyError(f"--{unknown[0].replace('_', '-')}: not an option of {reader}; its options: {options}.")


def find_metadata(source: Path, name: str, data_set: str) -> Path:
    """Find the file of a data set that describes its recordings; the first one, where several have its name.

    Args:
        source: folder of the data set.
        name: name of the file.
        data_set: name of the data set, for the message.

    Raises:
        SingerVerifyError: there is no such file below the folder.
    """
    if not (found := sorted(path for path in find_files(source).files if path.name == name)):
        raise SingerVerifyError(f"{source}: has no {name}; expected the unpacked {data_set} folder.")
    return found[0]


def _suggest_folder_above(reader: str, source: Path, paths: list[str]) -> str:
    """Name the folder above from which the files would be named as in the reader, or return nothing."""
    if reader == "folder":
        return ""  # any folder would do as a singer
    names, folder = load_reader(reader).PATH_PATTERN, Path(os.path.abspath(source))
    for above in folder.parents[:MAX_LEVELS_ABOVE]:
        prefix = folder.relative_to(above).as_posix()
        if any(names.search(f"{prefix}/{path}") for path in paths):
            return f"; they are from {above}, so give that folder"
    return ""


def _suggest_reader(reader: str, paths: list[str]) -> str:
    """Name another reader, whose pattern matches most of the files, or what the reader `folder` expects."""
    others = [name for name in list_reader_names() if name not in ("folder", reader)]
    counts = {
        name: len(_match_paths(paths, importlib.import_module(f"{__name__}.{name}").PATH_PATTERN)) for name in others
    }
    likeliest = max(counts, key=lambda name: counts[name])
    if counts[likeliest]:
        return f"; looks like {likeliest}"
    if reader == "folder":
        return "; put the recordings of each singer into a folder named after the singer"
    return "; for singers in folders take the reader `folder`"
