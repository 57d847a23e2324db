"""Lists of trials: pairs of recordings by their paths with labels, and pairs of utterances by their numbers.

One side of a list may be singers instead, by their names: see `singer_sides`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped

from singer_verify.corpora.matching import ABSENT, match_paths
from singer_verify.corpora.names import normalise_name
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.scoring.enrolment import SingerModels

LEFT_SIDE, RIGHT_SIDE = SIDE_NAMES = ("left", "right")


@dataclass(frozen=True)
class TrialList:
    """Pairs of recordings as in a file.

    Attributes:
        left: (trials,), path of one recording with forward slashes, an object array of strings.
        right: (trials,), path of the other recording.
        is_target: (trials,), whether both are of the same singer.
        labels: a row of strings for each trial: `left_singer`, `right_singer`, `left_gender`, ...; None without any.
        singer_side: the side that has names of singers instead of paths, `left` or `right`; None if neither has, or
            if that has not been found out.
    """

    left: Shaped[np.ndarray, " trials"]
    right: Shaped[np.ndarray, " trials"]
    is_target: Bool[np.ndarray, " trials"]
    labels: pd.DataFrame | None = None
    singer_side: str | None = None

    def __len__(self) -> int:
        return len(self.is_target)

    @property
    def num_targets(self) -> int:
        """Number of target trials."""
        return int(self.is_target.sum())


def require_both_kinds(trials: TrialList, name: str) -> None:
    """Check that a list has target and non-target trials.

    Args:
        trials: trials to be evaluated.
        name: name of the list, for the message.

    Raises:
        SingerVerifyError: no trial, or trials of one kind only.
    """
    if not len(trials):
        raise SingerVerifyError(f"{name}: holds no trial; expected target and non-target trials.")
    if trials.num_targets in (0, len(trials)):
        present, missing = ("target", "non-target") if trials.num_targets else ("non-target", "target")
        raise SingerVerifyError(
            f"{name}: all its {len(trials)} trials are {present} trials; expected some {missing} trials too, as error "
            f"rates compare the two."
        )


@dataclass(frozen=True)
class Trials:
    """Pairs of utterances, or of a singer's model and an utterance.

    Attributes:
        left: (trials,), number of one utterance; the models are numbered after the utterances.
        right: (trials,), number of the other utterance.
        is_target: (trials,), whether both are of the same singer.
        models: models that are sides of trials; None without any.
    """

    left: Int[np.ndarray, " trials"]
    right: Int[np.ndarray, " trials"]
    is_target: Bool[np.ndarray, " trials"]
    models: SingerModels | None = None


def build_all_pairs(
    singer_index: Int[np.ndarray, " utterances"], corpus_index: Int[np.ndarray, " utterances"] | None = None
) -> Trials:
    """Pair every utterance with every other once; with several corpora, only within a corpus."""
    left, right = np.triu_indices(len(singer_index), k=1)
    if corpus_index is not None:
        is_within = corpus_index[left] == corpus_index[right]
        left, right = left[is_within], right[is_within]
    return Trials(left, right, singer_index[left] == singer_index[right])


def compute_cosine_scores(
    embeddings: Float[np.ndarray, "utterances embedding"], trials: Trials
) -> Float[np.ndarray, " trials"]:
    """Compute the cosine of the two embeddings of each trial; rows are of unit length."""
    return (embeddings @ embeddings.T)[trials.left, trials.right]


def add_labels(trials: TrialList, labels: pd.DataFrame) -> TrialList:
    """Add `left_<label>` and `right_<label>` for each label; other labels of the list stay.

    Args:
        trials: trials whose paths are all in the table.
        labels: a column of strings for each label, indexed by path.
    """
    columns = {
        f"{side}_{label}": labels[label].to_numpy(object)[labels.index.get_indexer(pd.Index(paths, dtype=object))]
        for label in labels.columns
        for side, paths in zip(SIDE_NAMES, (trials.left, trials.right), strict=True)
    }
    table = pd.DataFrame(columns)
    if trials.labels is not None:
        own = [name for name in trials.labels.columns if name not in columns]
        table = table.join(trials.labels[own].reset_index(drop=True))
    return TrialList(trials.left, trials.right, trials.is_target, table)


@dataclass(frozen=True)
class ListedFiles:
    """The files that a list of trials names, and singers.

    Attributes:
        paths: (files,), each once, as listed; then the singers.
        places: (files,), number of the utterance that each matches, or `ABSENT`; singers are numbered after utterances.
        left: (trials,), index into `paths` of one file of each trial.
        right: (trials,), index of the other.
        num_singers: number of singers at the end of `paths`.
    """

    paths: Shaped[np.ndarray, " files"]
    places: Int[np.ndarray, " files"]
    left: Int[np.ndarray, " trials"]
    right: Int[np.ndarray, " trials"]
    num_singers: int = 0


def match_listed_files(trials: TrialList, paths: Sequence[str] | np.ndarray) -> ListedFiles:
    """Match each file of a list to an utterance.

    Raises:
        SingerVerifyError: see `match_paths`.
    """
    codes, distinct = pd.factorize(np.concatenate([trials.left, trials.right]))
    left, right = np.split(codes.astype(np.int64), 2)
    return ListedFiles(distinct, match_paths(distinct, paths), left, right)


def match_listed_singers(
    trials: TrialList, singer_side: str, paths: Sequence[str] | np.ndarray, singers: Sequence[str]
) -> ListedFiles:
    """Match each file of a list to an utterance, and each name on one of its sides to a singer.

    Raises:
        SingerVerifyError: see `match_paths`.
    """
    is_left = singer_side == LEFT_SIDE
    named, compared = (trials.left, trials.right) if is_left else (trials.right, trials.left)
    (file_codes, files), (singer_codes, names) = pd.factorize(compared), pd.factorize(named)
    place_by_singer = {singer: len(paths) + number for number, singer in enumerate(singers)}
    singer_places = np.array([place_by_singer.get(normalise_name(name), ABSENT) for name in names], np.int64)
    sides = len(files) + singer_codes.astype(np.int64), file_codes.astype(np.int64)
    return ListedFiles(
        np.concatenate([files, names]),
        np.concatenate([match_paths(files, paths), singer_places]),
        *(sides if is_left else sides[::-1]),
        num_singers=len(names),
    )


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
