"""Checks of a list of trials against the recordings of a corpus, before it is evaluated.

How each fault is handled, and always reported:

| fault | handling |
| --- | --- |
| a file that is not among the utterances, or that cannot be used | its trials are left out |
| a name that is none of the singers, where a side of the list names singers | its trials are left out |
| a recording against itself, or against a file that sounds the same | left out |
| a trial that repeats an earlier one, in either order, by the same files or by copies | left out |
| a label that contradicts the folders | the folders decide, as in training and over all pairs |
| a file named after another singer than its folder | none: the folder decides |

Each trial counts for the first fault it has, so the counts add up.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, Shaped

from singer_verify.corpora.corpus import SPLITS, find_contradicting_singer
from singer_verify.corpora.matching import ABSENT
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.trials.singer_sides import find_singer_side
from singer_verify.evaluation.trials.trial_list import (
    ListedFiles,
    TrialList,
    match_listed_files,
    match_listed_singers,
    require_both_kinds,
)

MIN_SHARE_REVERSED = 0.9  # of the labels: then 1 means another singer
NO_COPIES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class TrialListValidation:
    """Faults of a list of trials.

    Attributes:
        root: root folder of the corpus.
        left: (trials,), path of one utterance, relative to the root; as listed if there is no such utterance. On
            `singer_side`, name of the singer.
        right: (trials,), path of the other utterance.
        is_target: (trials,), by the folders; meaningless where a file is missing.
        is_missing: (trials,), a file is not among the utterances that can be used, or a name is none of the singers.
        is_self_pair: (trials,), a recording against itself, or against a copy.
        is_duplicate: (trials,), the same two recordings appeared before, in either order.
        is_contradicting: (trials,), the list's label contradicts the folders.
        missing: files that are not among the utterances that can be used, as listed.
        num_elsewhere: number of them that exist below the root: in another split, or unusable.
        misnamed: files named after another singer than their folder, and that singer.
        singer_side: the side that names singers; None if both sides name recordings.
        missing_singers: names on that side that are none of the singers.
        is_missing_singer: (trials,), a name is none of the singers.
    """

    root: Path
    left: Shaped[np.ndarray, " trials"]
    right: Shaped[np.ndarray, " trials"]
    is_target: Bool[np.ndarray, " trials"]
    is_missing: Bool[np.ndarray, " trials"]
    is_self_pair: Bool[np.ndarray, " trials"]
    is_duplicate: Bool[np.ndarray, " trials"]
    is_contradicting: Bool[np.ndarray, " trials"]
    missing: tuple[str, ...]
    num_elsewhere: int
    misnamed: dict[str, str]
    singer_side: str | None
    missing_singers: tuple[str, ...]
    is_missing_singer: Bool[np.ndarray, " trials"]

    @property
    def is_excluded(self) -> Bool[np.ndarray, " trials"]:
        """Which trials are left out."""
        return self.is_missing | self.is_self_pair | self.is_duplicate


def validate_trials(
    trials: TrialList,
    root: Path,
    singer_by_path: Mapping[str, str],
    copies: Mapping[str, str] = NO_COPIES,
    unusable: Collection[str] = (),
) -> TrialListValidation:
    """Compare a list with the utterances of a corpus.

    Args:
        trials: trials as they were read.
        root: root folder of the corpus.
        singer_by_path: singer of each utterance, by its path relative to the root.
        copies: by the path of a copy, that of the utterance that sounds the same, which the copy's trials are of.
        unusable: paths of utterances that cannot be used. The list is matched to them all the same: their trials are
            left out, and not taken for trials of another utterance with a similar path.

    Raises:
        SingerVerifyError: a path fits two utterances; or see `find_singer_side`.
    """
    paths = np.array([*singer_by_path, *(copy for copy in copies if copy not in singer_by_path)], object)
    singers = dict.fromkeys(singer_by_path.values())
    side = find_singer_side(trials, root, paths.tolist(), singers)
    matched = match_listed_singers(trials, side, paths, [*singers]) if side else match_listed_files(trials, paths)
    names = np.concatenate([paths, np.array([*singers], object)])
    without_recording = singers.keys() - {of for path, of in singer_by_path.items() if path not in unusable}
    files = _leave_out_unusable(_replace_copies(matched, names, copies), names, {*unusable, *without_recording})
    is_absent, is_singer = files.places == ABSENT, np.arange(len(files.paths)) >= len(files.paths) - files.num_singers
    meant = np.where(is_absent, files.paths, names[files.places])
    is_target = _is_same_singer(files, [*_get_singers(meant, is_singer, singer_by_path)])
    is_missing_singer = (is_absent & is_singer)[files.left] | (is_absent & is_singer)[files.right]
    is_missing, is_self_pair, is_duplicate, is_contradicting = _find_first_faults(files, is_target != trials.is_target)
    return TrialListValidation(
        root=root,
        left=meant[files.left],
        right=meant[files.right],
        is_target=is_target,
        is_missing=is_missing,
        is_self_pair=is_self_pair,
        is_duplicate=is_duplicate,
        is_contradicting=is_contradicting,
        missing=tuple(files.paths[is_absent & ~is_singer]),
        num_elsewhere=_count_existing_files(root, files.paths[is_absent & ~is_singer]),
        misnamed=_find_misnamed_files(meant[~is_absent & ~is_singer], singer_by_path),
        singer_side=side,
        missing_singers=tuple(files.paths[is_absent & is_singer]),
        is_missing_singer=is_missing_singer,
    )


def _replace_copies(files: ListedFiles, paths: np.ndarray, copies: Mapping[str, str]) -> ListedFiles:
    """Match the files that are copies to the utterances they sound the same as."""
    place_by_path = {path: place for place, path in enumerate(paths)}
    originals = np.array([place_by_path[copies.get(path, path)] for path in paths], np.int64)
    places = np.array([place if place == ABSENT else originals[place] for place in files.places], np.int64)
    return replace(files, places=places)


def _leave_out_unusable(files: ListedFiles, paths: np.ndarray, unusable: Collection[str]) -> ListedFiles:
    left_out = set(unusable)
    places = [ABSENT if place == ABSENT or paths[place] in left_out else place for place in files.places]
    return replace(files, places=np.array(places, np.int64))


def select_valid_trials(trials: TrialList, validation: TrialListValidation) -> TrialList:
    """Return the usable trials, with paths relative to the corpus root, labelled by the folders.

    Raises:
        SingerVerifyError: no trials, or trials of one kind only, are left; or most labels contradict the folders, so
            that the list is for another corpus.
    """
    kept = ~validation.is_excluded
    num_kept, num_contradicting = int(kept.sum()), int(validation.is_contradicting.sum())
    if not num_kept and validation.missing_singers:
        raise SingerVerifyError(
            f"{validation.root}: none of the {len(trials)} trials can be used; the list names for instance "
            f"{validation.missing_singers[0]}, which is not among the singers."
        )
    if not num_kept and validation.missing:
        where = "are in another split or unusable" if validation.num_elsewhere else "have another name in the corpus"
        raise SingerVerifyError(
            f"{validation.root}: none of the {len(trials)} trials can be used; the list names for instance "
            f"{validation.missing[0]}, which is not among the utterances: check whether its files {where}."
        )
    if num_contradicting >= MIN_SHARE_REVERSED * num_kept > 0:
        raise SingerVerifyError(
            f"{validation.root}: the labels are reversed: {num_contradicting} of {num_kept} trials are labelled the "
            f"opposite of what the folders, which name the singers, say; expected 1 (or target) for the same singer."
        )
    if 2 * num_contradicting > num_kept:
        raise SingerVerifyError(
            f"{validation.root}: the labels of {num_contradicting} of {num_kept} trials contradict the folders, which "
            f"name the singers; expected a list for this corpus, where 1 (or target) means the same singer."
        )
    labels = None if trials.labels is None else trials.labels[kept].reset_index(drop=True)
    sides = validation.left[kept], validation.right[kept]
    left = TrialList(*sides, validation.is_target[kept], labels, validation.singer_side)
    require_both_kinds(left, f"{validation.root}: what is left of the {len(trials)} trials")
    return left


def _get_singers(
    meant: np.ndarray, is_singer: Bool[np.ndarray, " files"], singer_by_path: Mapping[str, str]
) -> Iterator[str]:
    """Yield the singer of each file, and each singer; "" for a file that is not among the utterances."""
    for name, is_name in zip(meant.tolist(), is_singer.tolist(), strict=True):
        yield name if is_name else singer_by_path.get(name, "")


def _is_same_singer(files: ListedFiles, singers: list[str]) -> Bool[np.ndarray, " trials"]:
    numbers = pd.factorize(np.array(singers, object))[0]
    return np.asarray(numbers[files.left] == numbers[files.right])


def _find_first_faults(files: ListedFiles, is_contradicting: Bool[np.ndarray, " trials"]) -> list[np.ndarray]:
    """Mark the trials whose first fault is each of the four faults of a trial."""
    is_absent = files.places == ABSENT
    left, right = _number_recordings(files)
    faults = [
        is_absent[files.left] | is_absent[files.right],
        left == right,
        _find_duplicates(left, right),
        is_contradicting,
    ]
    has_one_before = np.logical_or.accumulate([np.zeros_like(is_contradicting), *faults[:-1]])
    return [fault & ~before for fault, before in zip(faults, has_one_before, strict=True)]


def _number_recordings(files: ListedFiles) -> tuple[Int[np.ndarray, " trials"], Int[np.ndarray, " trials"]]:
    """Number the recordings; two spellings of one path have the same number."""
    first_absent = int(files.places.max(initial=ABSENT)) + 1
    own = np.where(files.places == ABSENT, first_absent + np.arange(len(files.places)), files.places)
    return own[files.left], own[files.right]


def _find_duplicates(
    left: Int[np.ndarray, " trials"], right: Int[np.ndarray, " trials"]
) -> Bool[np.ndarray, " trials"]:
    num_recordings = 1 + max(int(left.max(initial=0)), int(right.max(initial=0)))
    pairs = np.minimum(left, right) * num_recordings + np.maximum(left, right)
    return np.asarray(pd.Series(pairs).duplicated(), bool)


def _count_existing_files(root: Path, paths: np.ndarray) -> int:
    folders = (root, *(root / split for split in SPLITS))
    return sum(any(_is_file_below(root, folder / path) for folder in folders) for path in paths)


def _is_file_below(root: Path, path: Path) -> bool:
    """Decide by the path, not by where links lead: a prepared corpus holds links to recordings elsewhere."""
    below_root = os.path.join(os.path.abspath(root), "")
    return os.path.abspath(path).startswith(below_root) and os.path.isfile(path)  # False also of impossible names


def _find_misnamed_files(paths: np.ndarray, singer_by_path: Mapping[str, str]) -> dict[str, str]:
    singers = set(singer_by_path.values())
    told = {path: find_contradicting_singer(path, singer_by_path[path], singers) for path in sorted(set(paths))}
    return {path: singer for path, singer in told.items() if singer is not None}


def count_faults(validation: TrialListValidation) -> dict[str, int]:
    """Count the trials or files with each fault. A trial counts for one fault, so those left out add up."""
    is_missing_file = validation.is_missing & ~validation.is_missing_singer
    return {
        "num_listed": len(validation.is_target),
        "num_left_out": int(validation.is_excluded.sum()),
        "num_with_missing_files": int(is_missing_file.sum()),
        "num_self_pairs": int(validation.is_self_pair.sum()),
        "num_duplicates": int(validation.is_duplicate.sum()),
        "num_contradicting_labels": int(validation.is_contradicting.sum()),
        "num_missing_files": len(validation.missing),
        "num_missing_files_elsewhere": validation.num_elsewhere,
        "num_misnamed_files": len(validation.misnamed),
        "num_with_missing_singers": int(validation.is_missing_singer.sum()),
        "num_missing_singers": len(validation.missing_singers),
    }
