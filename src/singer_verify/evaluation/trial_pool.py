"""The utterances that trials are drawn from, under a rule that says which two make one."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int, Shaped

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.conditions import UNKNOWN
from singer_verify.evaluation.trials import Trials

MOST_PAIRS = 20_000_000  # about two gigabytes as text


@dataclass(frozen=True)
class Pool:
    """Utterances; two make a trial if their songs differ and their groups do not.

    Attributes:
        utterance: (pool,), number of each in the corpus' utterances.
        singer: (pool,), number of its singer.
        song: (pool,), number of its song; all different where songs do not matter.
        group: (pool,), number of its singer's group, the same for all of a singer; all 0 where groups do not matter.
    """

    utterance: Int[np.ndarray, " pool"]
    singer: Int[np.ndarray, " pool"]
    song: Int[np.ndarray, " pool"]
    group: Int[np.ndarray, " pool"]

    @property
    def num_available(self) -> tuple[int, int]:
        """How many target and how many non-target trials there are."""
        num_targets = _num_cross_song(self.singer, self.song)
        return num_targets, _num_cross_song(self.group, self.song) - num_targets


def pool_of_all(singers: Shaped[np.ndarray, " utterances"]) -> Pool:
    """Any two utterances make a trial.

    Args:
        singers: (utterances,), names or numbers.
    """
    numbers = np.arange(len(singers))
    return Pool(numbers, _numbered(singers), numbers, np.zeros_like(numbers))


def pool_of_hard(singers: Shaped[np.ndarray, " utterances"], labels: dict[str, np.ndarray]) -> Pool:
    """Two utterances of different songs, by singers of one gender, make a trial: the condition `hard`.

    Utterances of unknown song or gender are left out.

    Args:
        singers: (utterances,), names or numbers.
        labels: for each label its value for every utterance, `""` where unknown.

    Raises:
        SingerVerifyError: songs or genders are not known, or a singer has two genders.
    """
    for name in ("song", "gender"):
        if name not in labels or not (labels[name] != UNKNOWN).any():
            raise SingerVerifyError(
                f"no {name} is known (labels found: {', '.join(labels) or 'none'}); hard trials are of other songs and "
                f"one gender, so expected a column {name} in corpus.csv."
            )
    kept = np.flatnonzero((labels["song"] != UNKNOWN) & (labels["gender"] != UNKNOWN))
    gender = _numbered(labels["gender"][kept])
    _require_one_gender(singers[kept], gender)
    return Pool(kept, _numbered(singers[kept]), _numbered(labels["song"][kept]), gender)


def all_trials(pool: Pool) -> Trials:
    """Every trial there is, by the numbers of `Pool.utterance`.

    Raises:
        SingerVerifyError: too many to list.
    """
    num_pairs = len(pool.utterance) * (len(pool.utterance) - 1) // 2
    if num_pairs > MOST_PAIRS:
        raise SingerVerifyError(
            f"{len(pool.utterance)} utterances make {num_pairs} pairs, more than {MOST_PAIRS}, too many to list; draw "
            f"some, or evaluate without a list, which takes all pairs."
        )
    left, right = np.triu_indices(len(pool.utterance), k=1)
    kept = (pool.song[left] != pool.song[right]) & (pool.group[left] == pool.group[right])
    left, right = left[kept], right[kept]
    return Trials(pool.utterance[left], pool.utterance[right], pool.singer[left] == pool.singer[right])


def _require_one_gender(singers: np.ndarray, gender: Int[np.ndarray, " pool"]) -> None:
    num_genders = pd.Series(gender).groupby(singers).nunique()
    if len(mixed := num_genders.index[num_genders > 1]):
        raise SingerVerifyError(
            f"singer {mixed[0]}: has utterances of {num_genders[mixed[0]]} genders in corpus.csv; expected one."
        )


def _numbered(values: np.ndarray) -> Int[np.ndarray, " values"]:
    """The place of each value among all values, sorted."""
    return pd.factorize(values, sort=True)[0].astype(np.int64)


def _num_cross_song(kind: Int[np.ndarray, " pool"], song: Int[np.ndarray, " pool"]) -> int:
    """Pairs of utterances of one kind and two songs."""
    numbers = np.unique(np.column_stack([kind, song]), axis=0, return_inverse=True)[1]
    return _num_pairs(kind) - _num_pairs(numbers.ravel())


def _num_pairs(kind: Int[np.ndarray, " pool"]) -> int:
    counts = np.unique(kind, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())
