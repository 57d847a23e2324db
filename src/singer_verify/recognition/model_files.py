"""The files that a model can embed, among paths and in folders."""

from collections.abc import Iterator
from pathlib import Path

from singer_verify.audio import AUDIO_SUFFIXES
from singer_verify.corpora.folder import READY_SUFFIX
from singer_verify.errors import SingerVerifyError
from singer_verify.features import Feature
from singer_verify.features.ready import Ready


def files_below(paths: list[Path], feature: Feature) -> list[Path]:
    """The files with frames or sound for this feature, among the given ones and in the given folders, recursively,
    sorted.

    Raises:
        SingerVerifyError: a path that does not exist, or nothing found.
    """
    suffixes = frozenset({READY_SUFFIX}) if isinstance(feature, Ready) else AUDIO_SUFFIXES
    found = [file for path in paths for file in _files_of(path, suffixes)]
    if not found:
        raise SingerVerifyError(
            f"{' '.join(map(str, paths))}: no file to embed; expected {' '.join(sorted(suffixes))}."
        )
    return found


def _files_of(path: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    if not path.exists():
        raise SingerVerifyError(f"{path}: no such file or folder.")
    if path.is_file():
        yield path
    else:
        files = (file for file in path.rglob("*") if not file.name.startswith("."))
        yield from sorted(file for file in files if file.suffix.lower() in suffixes)
