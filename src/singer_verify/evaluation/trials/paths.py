"""Matching of the paths in a list of trials to utterances.

A list may be written for this corpus folder, for one of its splits, or for another machine. A path matches the
utterance it names exactly; else the one whose path, or path below its split, is its longest suffix:
`val/male1/a.wav`, `male1/a.wav` and `/data/vocalset/male1/a.wav` all match `val/male1/a.wav`.
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
    """Return the number of the utterance that each listed path matches, `ABSENT` for none.

    Args:
        listed: (listed,), paths in a list of trials.
        paths: (utterances,), relative to the corpus root: `<split>/<singer>/**/<utterance>`.

    Raises:
        SingerVerifyError: a path matches two utterances.
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
        paths: (files,), each once, as listed.
        places: (files,), number of the utterance that each matches, or `ABSENT`.
        left: (trials,), index into `paths` of one file of each trial.
        right: (trials,), index of the other.
    """

    paths: Shaped[np.ndarray, " files"]
    places: Int[np.ndarray, " files"]
    left: Int[np.ndarray, " trials"]
    right: Int[np.ndarray, " trials"]


def match_listed_files(trials: TrialList, paths: Sequence[str] | np.ndarray) -> ListedFiles:
    """Match each file of a list to an utterance.

    Raises:
        SingerVerifyError: see `match_paths`.
    """
    codes, distinct = pd.factorize(np.concatenate([trials.left, trials.right]))
    left, right = np.split(codes.astype(np.int64), 2)
    return ListedFiles(distinct, match_paths(distinct, paths), left, right)


def index_trials(trials: TrialList, paths: Sequence[str] | np.ndarray) -> Trials:
    """Return the trials of a list by the numbers of their utterances, `paths` as in `match_paths`.

    Raises:
        SingerVerifyError: a path of the list matches no utterance, or two.
    """
    files = match_listed_files(trials, paths)
    if len(absent := files.paths[files.places == ABSENT]):
        raise SingerVerifyError(
            f"{absent[0]}: named by the list of trials, but none of the {len(paths)} utterances ({len(absent)} such "
            f"files); leave their trials out."
        )
    return Trials(files.places[files.left], files.places[files.right], trials.is_target)


def build_trial_list(trials: Trials, paths: Shaped[np.ndarray, " utterances"]) -> TrialList:
    """Return trials, given by the numbers of their utterances, as a list of paths."""
    return TrialList(paths[trials.left], paths[trials.right], trials.is_target)


def _match_by_suffix(listed: str, ends: dict[str, list[int]], paths: Sequence[str] | np.ndarray) -> int:
    parts = [part for part in _normalise_unicode(listed).replace("\\", "/").split("/") if part not in ("", ".")]
    for start in range(len(parts)):
        if matches := ends.get("/".join(parts[start:])):
            if len(matches) > 1:
                raise SingerVerifyError(
                    f"{listed}: matches both {paths[matches[0]]} and {paths[matches[1]]}; write the paths of the list "
                    f"relative to the corpus root."
                )
            return matches[0]
    return ABSENT


def _normalise_unicode(path: str) -> str:
    """Compose accented letters, which some file systems store decomposed."""
    return unicodedata.normalize("NFC", path)
