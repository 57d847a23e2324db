"""Which utterance a path in a list of trials means.

A list may be made for the corpus as it lies here, for one split of it, or for another place. A path means the utterance
that it names exactly; or else the one whose path, or path below its split, is the longest end of it:
`val/male1/a.wav`, `male1/a.wav` and `/data/vocalset/male1/a.wav` all mean `val/male1/a.wav`.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int, Shaped

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.trials.trial_list import TrialList, Trials

ABSENT = -1


def match_paths(listed: Sequence[str] | np.ndarray, paths: Sequence[str] | np.ndarray) -> Int[np.ndarray, " listed"]:
    """
    Args:
        listed: (listed,), paths in a list of trials.
        paths: (utterances,), of the utterances, relative to the corpus root: `<split>/<singer>/**/<utterance>`.

    Returns:
        (listed,), the number of the utterance that each means, `ABSENT` where it means none.

    Raises:
        SingerVerifyError: a path fits two utterances.
    """
    whole = {path: place for place, path in enumerate(paths)}
    ends: dict[str, list[int]] = {}
    for place, path in enumerate(paths):
        ends.setdefault(_normalise_unicode(path), []).append(place)
    for place, path in enumerate(paths):
        if below_split := _normalise_unicode(path).partition("/")[2]:
            ends.setdefault(below_split, []).append(place)
    places = [whole[path] if path in whole else _match_by_suffix(path, ends, paths) for path in listed]
    return np.array(places, np.int64)


@dataclass(frozen=True)
class ListedFiles:
    """The files that a list of trials names.

    Attributes:
        paths: (files,), each once, as the list writes it.
        places: (files,), the number of the utterance that each means, or `ABSENT`.
        left: (trials,), number of a trial's one file in `paths`.
        right: (trials,), of its other.
    """

    paths: Shaped[np.ndarray, " files"]
    places: Int[np.ndarray, " files"]
    left: Int[np.ndarray, " trials"]
    right: Int[np.ndarray, " trials"]


def match_listed_files(trials: TrialList, paths: Sequence[str] | np.ndarray) -> ListedFiles:
    """What each file of a list means among utterances.

    Raises:
        SingerVerifyError: see `match_paths`.
    """
    codes, distinct = pd.factorize(np.concatenate([trials.left, trials.right]))
    left, right = np.split(codes.astype(np.int64), 2)
    return ListedFiles(distinct, match_paths(distinct, paths), left, right)


def index_trials(trials: TrialList, paths: Sequence[str] | np.ndarray) -> Trials:
    """The trials of a list by the numbers of their utterances, `paths` as in `match_paths`.

    Raises:
        SingerVerifyError: a path of the list means none of the utterances, or fits two.
    """
    files = match_listed_files(trials, paths)
    if len(absent := files.paths[files.places == ABSENT]):
        raise SingerVerifyError(
            f"{absent[0]}: named by the list of trials, but none of the {len(paths)} utterances ({len(absent)} such "
            f"files); leave their trials out."
        )
    return Trials(files.places[files.left], files.places[files.right], trials.is_target)


def build_trial_list(trials: Trials, paths: Shaped[np.ndarray, " utterances"]) -> TrialList:
    """Trials by the numbers of their utterances as a list of paths."""
    return TrialList(paths[trials.left], paths[trials.right], trials.is_target)


def _match_by_suffix(listed: str, ends: dict[str, list[int]], paths: Sequence[str] | np.ndarray) -> int:
    parts = [part for part in _normalise_unicode(listed).replace("\\", "/").split("/") if part not in ("", ".")]
    for start in range(len(parts)):
        if found := ends.get("/".join(parts[start:])):
            if len(found) > 1:
                raise SingerVerifyError(
                    f"{listed}: fits both {paths[found[0]]} and {paths[found[1]]}; write the paths of the list "
                    f"relative to the corpus root."
                )
            return found[0]
    return ABSENT


def _normalise_unicode(path: str) -> str:
    """One spelling of letters with accents: some file systems store them composed, some in pieces."""
    return unicodedata.normalize("NFC", path)
