"""Matching of paths in a table or a list to the utterances of a corpus, however another machine wrote them.

A listed path means the utterance that it names exactly; otherwise the one whose path, or path below its split, is the
longest end of it (`/data/set/val/anna/1.wav`, `anna\\1.wav`); otherwise the one whose path ends in it (`1.wav`). Each
is tried as spelled, then with another or no suffix, then in another case. Where several utterances fit, none is meant.
Letters with accents are compared in NFC.
"""

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import numpy as np
from jaxtyping import Int

from singer_verify.audio import AUDIO_SUFFIXES
from singer_verify.corpora.names import normalise_name
from singer_verify.errors import SingerVerifyError

ABSENT = -1
# Suffixes of recordings, and of what is computed from them: `anna/1.wav` was converted to `anna/1.flac`.
KNOWN_SUFFIXES = AUDIO_SUFFIXES | {
    *(".npy", ".npz", ".pt", ".aif", ".aiff", ".au", ".caf", ".opus", ".oga", ".sph", ".wma", ".webm", ".w64", ".raw")
}


def match_paths(listed: Sequence[str] | np.ndarray, paths: Sequence[str] | np.ndarray) -> Int[np.ndarray, " listed"]:
    """Return the number of the utterance that each listed path matches, `ABSENT` for none.

    Args:
        listed: (listed,), paths in a table or a list.
        paths: (utterances,), relative to the corpus root: `<split>/<singer>/**/<utterance>`.

    Raises:
        SingerVerifyError: a path as spelled is the end of two utterances' paths; or no path matches, because several
            utterances fit.
    """
    whole = {path: place for place, path in enumerate(paths)}
    places = np.array([whole.get(path, ABSENT) for path in listed], np.int64)
    ambiguous: dict[str, list[int]] = {}
    for find, spell in ((find, spell) for find in (_find_end_of_listed, _find_end_of_path) for spell in SPELLINGS):
        if not len(remaining := np.flatnonzero(places == ABSENT)):
            return places
        ends = _index_ends(paths, spell, below_split_only=find is _find_end_of_listed)
        for number in remaining.tolist():
            fits = find(spell(listed[number]), ends)
            if len(fits) == 1:
                places[number] = fits[0]
            elif fits:
                ambiguous.setdefault(listed[number], fits)
                if find is _find_end_of_listed and spell is spell_path:
                    _raise_ambiguous(listed[number], fits, paths)
    if (places == ABSENT).all():
        places = _match_one_folder(listed, paths)
        if ambiguous and (places == ABSENT).all():
            _raise_ambiguous(*next(iter(ambiguous.items())), paths)
    return places


def _raise_ambiguous(listed: str, fits: list[int], paths: Sequence[str] | np.ndarray) -> None:
    raise SingerVerifyError(
        f"{listed}: matches both {paths[fits[0]]} and {paths[fits[1]]}; write the paths of the list relative to the "
        f"corpus root."
    )


def spell_path(path: str) -> str:
    """Return a path with slashes, without `.`, doubled or surrounding ones, in NFC."""
    parts = normalise_name(path).strip().replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", "."))


def _spell_without_suffix(path: str) -> str:
    spelled = spell_path(path)
    suffix = PurePosixPath(spelled).suffix
    return spelled[: -len(suffix)] if suffix.lower() in KNOWN_SUFFIXES else spelled


SPELLINGS: tuple[Callable[[str], str], ...] = (
    spell_path,
    _spell_without_suffix,
    lambda path: spell_path(path).casefold(),
    lambda path: _spell_without_suffix(path).casefold(),
)


def _index_ends(
    paths: Sequence[str] | np.ndarray, spell: Callable[[str], str], below_split_only: bool
) -> dict[str, list[int]]:
    """Return the utterances with each end of their paths: whole, below the split, and the shorter ones."""
    ends: dict[str, list[int]] = {}
    for place, path in enumerate(paths):
        end = spell(path)
        for _ in range(2 if below_split_only else len(path)):
            if not end:
                break
            ends.setdefault(end, []).append(place)
            end = end.partition("/")[2]
    return ends


def _find_end_of_listed(listed: str, ends: dict[str, list[int]]) -> list[int]:
    """Find the utterances whose path, or path below the split, is the longest end of a listed path."""
    while listed:
        if listed in ends:
            return ends[listed]
        listed = listed.partition("/")[2]
    return []


def _find_end_of_path(listed: str, ends: dict[str, list[int]]) -> list[int]:
    """Find the utterances whose path ends in a listed path."""
    return ends.get(listed, [])


def _match_one_folder(listed: Sequence[str] | np.ndarray, paths: Sequence[str] | np.ndarray) -> np.ndarray:
    """Match by file names alone where the listed files of several singers lie in one folder, which tells none."""
    spelled = [_spell_without_suffix(path) for path in listed]
    absent = np.full(len(spelled), ABSENT, np.int64)
    if len(spelled) < 2 or len({path.rpartition("/")[0] for path in spelled}) > 1:
        return absent
    ends = _index_ends(paths, _spell_without_suffix, below_split_only=False)
    fits = [ends.get(path.rpartition("/")[2], []) for path in spelled]
    places = np.array([fit[0] if len(fit) == 1 else ABSENT for fit in fits], np.int64)
    found = places[places != ABSENT].tolist()
    folders = {PurePosixPath(paths[place]).parent for place in found}
    return places if len(set(found)) == len(found) and len(folders) > 1 else absent
