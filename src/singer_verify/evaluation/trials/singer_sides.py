"""Lists that compare singers with recordings, as those of NIST and Kaldi do: `anna val/anna/1.wav target`.

A singer stands for the mean of all the singer's recordings in the split. Where the singer is compared with one of
these, in a target trial, that one is left out of the mean.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from singer_verify.corpora.matching import ABSENT, match_paths
from singer_verify.corpora.names import normalise_name
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.scoring.enrolment import SingerModels
from singer_verify.evaluation.trials.trial_list import LEFT_SIDE, SIDE_NAMES, TrialList, Trials

EXPECTED_SIDES = "expected recordings on both sides of all trials, or on one side nothing but singers"


def find_singer_side(trials: TrialList, root: Path, paths: Sequence[str], singers: Collection[str]) -> str | None:
    """Return the side of a list that names singers, `left` or `right`; None if both sides name recordings.

    Args:
        trials: trials as they were read.
        root: root folder of the corpus, for messages.
        paths: paths of the utterances, relative to the root.
        singers: names of the singers.

    Raises:
        SingerVerifyError: a side names singers and recordings, or what may be either; or both sides name singers.
    """
    names = {side: pd.unique(getattr(trials, side)).tolist() for side in SIDE_NAMES}
    named = {side: [name for name in names[side] if normalise_name(name) in singers] for side in SIDE_NAMES}
    namesakes = {side: _find_recordings(named[side], paths) for side in SIDE_NAMES}
    sides = [side for side in SIDE_NAMES if len(named[side]) > len(namesakes[side])]
    consists_of_singers = [len(named[side]) == len(names[side]) for side in SIDE_NAMES]
    if not sides and sum(consists_of_singers) == 1:  # all of them are namesakes of recordings
        sides = [SIDE_NAMES[consists_of_singers.index(True)]]
    if len(sides) == len(SIDE_NAMES):
        raise SingerVerifyError(
            f"{root}: both sides of the list name singers ({named[sides[0]][0]}; {named[sides[1]][0]}); "
            f"{EXPECTED_SIDES}."
        )
    for side in sides:
        for name, path in namesakes[side].items():
            raise SingerVerifyError(
                f"{root}: {name}, on the {side} side of the list, may be the singer or the recording {path}; write "
                f"recordings with their folders, or rename the file."
            )
        others = [name for name in names[side] if normalise_name(name) not in singers]
        for name, path in _find_recordings(others, paths).items():
            raise SingerVerifyError(
                f"{root}: the {side} side of the list names singers ({named[side][0]}) and recordings ({name}, which "
                f"is {path}); {EXPECTED_SIDES}."
            )
    return sides[0] if sides else None


def _find_recordings(names: list[str], paths: Sequence[str]) -> dict[str, str]:
    """Return the path that each name matches, of those that match one."""
    if not names:
        return {}
    try:
        places = match_paths(names, paths)
    except SingerVerifyError:  # no name matches one recording, but one matches several
        return {}
    return {name: paths[place] for name, place in zip(names, places.tolist(), strict=True) if place != ABSENT}


def index_singer_trials(
    trials: TrialList,
    paths: Iterable[str],
    singers: Sequence[str],
    singer_index: Int[np.ndarray, " utterances"],
) -> Trials:
    """Return the trials of a list that names singers on one side, with a model for each mean that they need.

    Args:
        trials: valid trials, see `select_valid_trials`.
        paths: (utterances,), paths of the utterances.
        singers: names of the singers.
        singer_index: (utterances,), index of the singer of each in `singers`.

    Raises:
        SingerVerifyError: a singer has no recording but the one that a trial compares it with.
    """
    place_by_path = {path: place for place, path in enumerate(paths)}
    place_by_singer = {singer: place for place, singer in enumerate(singers)}
    is_left = trials.singer_side == LEFT_SIDE
    named, compared = (trials.left, trials.right) if is_left else (trials.right, trials.left)
    utterances = np.array([place_by_path[path] for path in compared], np.int64)
    singer_places = np.array([place_by_singer[singer] for singer in named], np.int64)
    left_out = np.where(trials.is_target, utterances, ABSENT)
    num_choices = len(place_by_path) + 1  # an utterance, or none
    keys, rows = np.unique(singer_places * num_choices + left_out + 1, return_inverse=True)
    model_singers, model_left_out = keys // num_choices, keys % num_choices - 1
    num_recordings = np.bincount(singer_index, minlength=len(singers))[model_singers] - (model_left_out != ABSENT)
    for model in np.flatnonzero(num_recordings == 0)[:1].tolist():
        names = [singers[place] for place in model_singers[num_recordings == 0].tolist()]
        only = next(path for path, place in place_by_path.items() if place == model_left_out[model])
        raise SingerVerifyError(
            f"{names[0]}: the list compares this singer with {only}, the singer's only usable recording, so that none "
            f"is left to represent the singer ({len(names)} such singers); add recordings, or leave these target "
            f"trials out."
        )
    models = SingerModels(model_singers, model_left_out, num_recordings)
    model_places = len(place_by_path) + rows.ravel()
    left, right = (model_places, utterances) if is_left else (utterances, model_places)
    return Trials(left, right, trials.is_target, models)
