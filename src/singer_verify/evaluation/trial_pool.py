"""The utterances that trials are drawn from, and which two of them may make a trial."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.conditions import UNKNOWN


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


def pool_of_all(singer_index: Int[np.ndarray, " utterances"]) -> Pool:
    """Any two utterances make a trial."""
    numbers = np.arange(len(singer_index))
    return Pool(numbers, singer_index, numbers, np.zeros_like(numbers))


def pool_of_hard(singer_index: Int[np.ndarray, " utterances"], labels: dict[str, np.ndarray]) -> Pool:
    """Two utterances of different songs, by singers of one gender, make a trial: the condition `hard`.

    Utterances of unknown song or gender are left out.

    Args:
        singer_index: (utterances,), who sings each.
        labels: for each label its value for every utterance, `""` where unknown.

    Raises:
        SingerVerifyError: songs or genders are not among the labels, or a singer has two genders.
    """
    if lacking := [name for name in ("song", "gender") if name not in labels or not (labels[name] != UNKNOWN).any()]:
        raise SingerVerifyError(
            f"the corpus has no label {lacking[0]} (labels known: {', '.join(labels) or 'none'}); hard trials are of "
            f"other songs and one gender, so add a column {lacking[0]} to its corpus.csv, or draw any trials."
        )
    kept = np.flatnonzero((labels["song"] != UNKNOWN) & (labels["gender"] != UNKNOWN))
    song, gender = (np.unique(labels[name][kept].astype(str), return_inverse=True)[1] for name in ("song", "gender"))
    singer = singer_index[kept]
    pairs = np.unique(np.column_stack([singer, gender]), axis=0)[:, 0]
    if len(twice := pairs[1:][pairs[1:] == pairs[:-1]]):
        utterances = int((singer == twice[0]).sum())
        raise SingerVerifyError(
            f"the {utterances} utterances of the singer number {twice[0]} have two genders in corpus.csv; expected one."
        )
    return Pool(kept, singer, song, gender)


def _num_cross_song(kind: Int[np.ndarray, " pool"], song: Int[np.ndarray, " pool"]) -> int:
    """Pairs of utterances of one kind and two songs."""
    numbers = np.unique(np.column_stack([kind, song]), axis=0, return_inverse=True)[1]
    return _num_pairs(kind) - _num_pairs(numbers.ravel())


def _num_pairs(kind: Int[np.ndarray, " pool"]) -> int:
    counts = np.unique(kind, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())
