"""Readers of data sets as they are downloaded, one file each, named as the data set is typed.

A reader has two parts. `PATH_PATTERN` is a regular expression that finds the set's utterances among the files below its
folder, by their path relative to it. `parse_recordings(source, matches)` tells who sings each of them and what is known of it;
further arguments, with defaults, are settings of that reader.
"""

import importlib
import inspect
import logging
import os
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from singer_verify.audio import AUDIO_SUFFIXES
from singer_verify.corpora.recording import Recording
from singer_verify.errors import SingerVerifyError

log = logging.getLogger(__name__)

IGNORED_FOLDER_NAME = "__MACOSX"  # what some programs add to an archive
MatchedFiles = list[tuple[str, re.Match[str]]]


def list_reader_names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def read_recordings(reader: str, source: Path, settings: dict[str, Any]) -> list[Recording]:
    """The utterances of a data set.

    Args:
        reader: one of `list_reader_names()`.
        source: the folder of the data set.
        settings: further arguments of the reader, by name.

    Raises:
        SingerVerifyError: no such reader, folder or setting, or a folder that is not this data set.
    """
    if reader not in list_reader_names():
        raise SingerVerifyError(f"{reader}: no such reader; expected one of {', '.join(list_reader_names())}.")
    if not source.is_dir():
        raise SingerVerifyError(f"{source}: no such folder; expected the folder of the data set.")
    module = importlib.import_module(f"{__name__}.{reader}")
    _check_reader_settings(reader, module.parse_recordings, settings)
    paths = list(_find_audio_files(source))
    if not paths:
        raise SingerVerifyError(f"{source}: holds no audio file; expected {' '.join(sorted(AUDIO_SUFFIXES))}.")
    found = _match_paths(paths, module.PATH_PATTERN)
    if not found:
        raise SingerVerifyError(
            f"{source}: none of its {len(paths)} audio files is named as in {reader} (the first: {paths[0]})"
            f"{_suggest_reader(paths)}."
        )
    if strays := sorted(set(paths) - {path for path, _ in found}):
        log.warning(
            "%s: %d of %d audio files are not named as in %s, and left out (the first: %s).",
            *(source, len(strays), len(paths), reader, strays[0]),
        )
    return module.parse_recordings(source, found, **settings)


def _find_audio_files(source: Path) -> Iterator[str]:
    """Paths of audio files relative to the folder, sorted."""
    for folder, folders, names in os.walk(source, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != IGNORED_FOLDER_NAME)
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES:
                yield Path(folder, name).relative_to(source).as_posix()


def _match_paths(paths: list[str], names: re.Pattern[str]) -> MatchedFiles:
    return [(path, match) for path in paths if (match := names.search(path))]


def _check_reader_settings(reader: str, recordings: Callable[..., Any], settings: dict[str, Any]) -> None:
    known = list(inspect.signature(recordings).parameters)[2:]
    if unknown := [name for name in settings if name not in known]:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in known) or "none"
        raise SingerVerifyError(
            f"--{unknown[0].replace('_', '-')}: not a setting of {reader}; its settings: {options}."
        )


def _suggest_reader(paths: list[str]) -> str:
    """Which data set most of the files are named after, in words."""
    others = [name for name in list_reader_names() if name != "folder"]
    counts = {
        name: len(_match_paths(paths, importlib.import_module(f"{__name__}.{name}").PATH_PATTERN)) for name in others
    }
    likeliest = max(counts, key=lambda name: counts[name])
    return f"; looks like {likeliest}" if counts[likeliest] else "; for singers in folders take the reader `folder`"
