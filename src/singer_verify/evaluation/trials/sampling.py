"""Trial lists from utterances: all pairs, or a seeded draw that is balanced and even over singers.

A draw has to be even over singers and over pairs of singers, free of duplicates, and possible where 30 000
utterances make 4.5e8 pairs. No library samples under these conditions. The trials of two singers are numbered instead
of listed, so that memory grows with the number of trials and of pairs of singers only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int, Shaped

from singer_verify.errors import SingerVerifyError, require_at_least
from singer_verify.evaluation.conditions import UNKNOWN
from singer_verify.evaluation.trials.trial_list import Trials

MAX_POOL_PAIRS = 20_000_000  # about two gigabytes as text
DEFAULT_MAX_TRIALS_PER_KIND = 10_000  # default number of trials of each kind


@dataclass(frozen=True)
class TrialPool:
    """Utterances to draw trials from; two make a trial if their songs differ and their groups agree.

    Attributes:
        utterance: (pool,), index of each in the corpus' utterances.
        singer: (pool,), index of its singer, from 0 without gaps.
        song: (pool,), index of its song; all different where songs do not matter.
        group: (pool,), index of its singer's group, one per singer; all 0 where groups do not matter.
    """

    utterance: Int[np.ndarray, " pool"]
    singer: Int[np.ndarray, " pool"]
    song: Int[np.ndarray, " pool"]
    group: Int[np.ndarray, " pool"]

    @property
    def num_available(self) -> tuple[int, int]:
        """The numbers of distinct target and non-target trials."""
        num_targets = _count_cross_song_pairs(self.singer, self.song)
        return num_targets, _count_cross_song_pairs(self.group, self.song) - num_targets


def build_full_pool(singers: Shaped[np.ndarray, " utterances"]) -> TrialPool:
    """Build a pool in which any two utterances make a trial.

    Args:
        singers: (utterances,), names or indices.
    """
    numbers = np.arange(len(singers))
    return TrialPool(numbers, _encode_values(singers), numbers, np.zeros_like(numbers))


def build_hard_pool(singers: Shaped[np.ndarray, " utterances"], labels: dict[str, np.ndarray]) -> TrialPool:
    """Build a pool for the condition `hard`: trials of two songs, by singers of one gender.

    Utterances of unknown song or gender are left out.

    Args:
        singers: (utterances,), names or indices.
        labels: values of all utterances by label, `""` where unknown.

    Raises:
        SingerVerifyError: songs or genders are not known, or a singer has two genders.
    """
    for name in ("song", "gender"):
        if name not in labels or not (labels[name] != UNKNOWN).any():
            raise SingerVerifyError(
                f"no {name} is known (labels found: {', '.join(labels) or 'none'}); hard trials pair different songs "
                f"by singers of one gender, so add a column {name} to corpus.csv."
            )
    kept = np.flatnonzero((labels["song"] != UNKNOWN) & (labels["gender"] != UNKNOWN))
    gender = _encode_values(labels["gender"][kept])
    num_genders = pd.Series(gender).groupby(singers[kept]).nunique()
    if len(mixed := num_genders.index[num_genders > 1]):
        raise SingerVerifyError(
            f"singer {mixed[0]}: has utterances of {num_genders[mixed[0]]} genders in corpus.csv; expected one."
        )
    return TrialPool(kept, _encode_values(singers[kept]), _encode_values(labels["song"][kept]), gender)


def list_all_trials(pool: TrialPool) -> Trials:
    """List every trial of a pool, in terms of `TrialPool.utterance`.

    Raises:
        SingerVerifyError: too many to list.
    """
    num_pairs = len(pool.utterance) * (len(pool.utterance) - 1) // 2
    if num_pairs > MAX_POOL_PAIRS:
        raise SingerVerifyError(
            f"{len(pool.utterance)} utterances make {num_pairs} pairs, more than the {MAX_POOL_PAIRS} a list may have; "
            f"draw some of them, or evaluate without a list, which takes all pairs."
        )
    left, right = np.triu_indices(len(pool.utterance), k=1)
    kept = (pool.song[left] != pool.song[right]) & (pool.group[left] == pool.group[right])
    left, right = left[kept], right[kept]
    return Trials(pool.utterance[left], pool.utterance[right], pool.singer[left] == pool.singer[right])


def draw_trials(pool: TrialPool, num_per_kind: int, seed: int) -> Trials:
    """Draw target and non-target trials, none twice (a, b is b, a), no utterance against itself.

    Every singer has as many target trials as every other, and every pair of singers as many non-target trials; those
    who have too few utterances for their share have all of them. Where there are more pairs of singers than trials, the
    pairs are chosen so that every singer is in equally many. The trials are in random order, and so are their sides.

    Args:
        pool: the utterances, and which of them make trials.
        num_per_kind: number of target trials, and of non-target trials.
        seed: random seed of the draw.

    Returns:
        the trials, in terms of `TrialPool.utterance`.

    Raises:
        SingerVerifyError: there are fewer trials than asked for.
    """
    require_at_least(1, num=num_per_kind)
    _require_enough_trials(pool, num_per_kind)
    generator = np.random.default_rng(seed)
    singers = generator.permutation(np.unique(pool.singer))
    sampler = TrialSampler(pool)
    drawn = []
    for first, second in ((singers, singers), _choose_singer_pairs(sampler, singers, num_per_kind)):
        pairs = list(zip(first.tolist(), second.tolist(), strict=True))
        shares = allocate_evenly(np.array([sampler.count_trials(*pair) for pair in pairs]), num_per_kind)
        drawn += [sampler.draw(*pair, share, generator) for pair, share in zip(pairs, shares.tolist(), strict=True)]
    sides = generator.permuted(np.hstack(drawn), axis=0)
    order = generator.permutation(2 * num_per_kind)
    left, right = pool.utterance[sides[:, order]]
    return Trials(left, right, order < num_per_kind)


def compute_default_num_trials(pool: TrialPool) -> int:
    """Return how many trials of each kind to draw by default: all of the rarer kind, up to a limit.

    Raises:
        SingerVerifyError: there are none.
    """
    _require_enough_trials(pool, 1)
    return min(DEFAULT_MAX_TRIALS_PER_KIND, *pool.num_available)


class TrialSampler:
    """Sampler of trials of two singers, or of one; every set of trials is equally likely.

    Each singer's utterances are sorted by song, so that those which make no trial with an utterance, having its song,
    are consecutive. Its partners are then numbered by leaving them out, and a singer's own earlier utterances too.

    Args:
        pool: utterances to draw from.
    """

    def __init__(self, pool: TrialPool) -> None:
        self.pool = pool
        order, bounds = np.lexsort((pool.song, pool.singer)), np.cumsum(np.bincount(pool.singer))[:-1]
        self._positions, self._songs = np.split(order, bounds), np.split(pool.song[order], bounds)

    def count_trials(self, first: int, second: int) -> int:
        """Count the trials of two singers, or of one with itself, each pair of utterances once."""
        return int(self._find_partners(first, second)[2].sum())

    def draw(self, first: int, second: int, num: int, generator: np.random.Generator) -> Int[np.ndarray, "2 num"]:
        """Draw trials of two singers without replacement.

        Args:
            first: a singer.
            second: another singer, or the same for target trials.
            num: number of trials, at most `count_trials`.
            generator: generator of random numbers.

        Returns:
            the positions in the pool of the two utterances of each trial.
        """
        if num == 0:
            return np.empty((2, 0), np.int64)
        start, num_skipped, num_partners = self._find_partners(first, second)
        end = np.cumsum(num_partners)
        number = generator.choice(end[-1], num, replace=False)
        left = np.searchsorted(end, number, side="right")
        right = number - (end - num_partners)[left]
        right += np.where(right >= start[left], num_skipped[left], 0)
        return np.stack([self._positions[first][left], self._positions[second][right]])

    def _find_partners(self, first: int, second: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return start and number of the utterances to skip, and number of partners, for each of the first singer's."""
        songs, others = self._songs[first], self._songs[second]
        end = np.searchsorted(others, songs, side="right")
        start = np.zeros_like(end) if first == second else np.searchsorted(others, songs, side="left")
        return start, end - start, len(others) - (end - start)


def allocate_evenly(capacity: Int[np.ndarray, " blocks"], num: int) -> Int[np.ndarray, " blocks"]:
    """Share out `num` trials over blocks so that none has two more than another that has room.

    Args:
        capacity: capacity of each block; together at least `num`.
        num: number of trials to share out; what cannot be divided goes to the first blocks with room.
    """
    shares = np.zeros_like(capacity)
    while (rest := num - int(shares.sum())) > 0:
        has_room = np.flatnonzero(shares < capacity)
        share = max(1, rest // len(has_room))
        has_room = has_room[:rest]
        shares[has_room] = np.minimum(capacity[has_room], shares[has_room] + share)
    return shares


def order_singer_pairs(
    groups: Sequence[np.ndarray], share: float
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Order the pairs of singers so that any first part of them has every singer about equally often.

    Singers i and j of a group of m, m odd, are paired in round (i + j) mod m, so that each round has every singer at
    most once. An even group has one singer more, who joins the one left over in each round. Groups are interleaved.

    Args:
        groups: singers who may meet.
        share: share of the rounds to return, above 0 and at most 1 (all pairs).
    """
    first, second, progress = [], [], []
    for singers in groups:
        num_rounds = len(singers) - 1 + len(singers) % 2
        number, i = np.divmod(np.arange(int(np.ceil(share * num_rounds)) * num_rounds), max(num_rounds, 1))
        j = (number - i) % max(num_rounds, 1)
        j[i == j] = num_rounds
        kept = (i < j) & (j < len(singers))
        first.append(singers[i[kept]])
        second.append(singers[j[kept]])
        progress.append((number[kept] + 1) / num_rounds)
    order = np.argsort(np.concatenate(progress), kind="stable")
    return np.concatenate(first)[order], np.concatenate(second)[order]


def _choose_singer_pairs(
    sampler: TrialSampler, singers: Int[np.ndarray, " singers"], num: int
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Choose pairs of singers for `num` non-target trials: one pair for each, or all pairs there are."""
    group_of_singer = np.zeros(len(singers), np.int64)
    group_of_singer[sampler.pool.singer] = sampler.pool.group
    groups = [singers[group_of_singer[singers] == group] for group in np.unique(sampler.pool.group)]
    share = min(1.0, num / sum(len(group) * (len(group) - 1) // 2 for group in groups))
    while True:  # singers whose only song is the same make no trial, so that more rounds may be needed
        first, second = order_singer_pairs(groups, share)
        has_trials = [sampler.count_trials(*pair) > 0 for pair in zip(first.tolist(), second.tolist(), strict=True)]
        kept = np.flatnonzero(has_trials)[:num]
        if len(kept) == num or share == 1.0:
            return first[kept], second[kept]
        share = min(1.0, 2 * share)


def _require_enough_trials(pool: TrialPool, num_per_kind: int) -> None:
    for kind, available in zip(("target", "non-target"), pool.num_available, strict=True):
        if available < num_per_kind:
            max_num, num_singers = min(pool.num_available), len(np.unique(pool.singer))
            needs = "expected singers with several utterances, and for hard trials several songs of each"
            raise SingerVerifyError(
                f"num={num_per_kind}: the {len(pool.utterance)} utterances of {num_singers} singers to draw from "
                f"make {available} {kind} trials; {f'ask for at most {max_num}' if max_num else needs}."
            )


def _encode_values(values: np.ndarray) -> Int[np.ndarray, " values"]:
    return pd.factorize(values, sort=True)[0].astype(np.int64)


def _count_cross_song_pairs(kind: Int[np.ndarray, " pool"], song: Int[np.ndarray, " pool"]) -> int:
    """Count the pairs of utterances of one kind and two songs."""
    table = pd.DataFrame({"kind": kind, "song": song})
    of_kind, of_song = table.value_counts("kind").to_numpy(), table.value_counts().to_numpy()
    return int((of_kind * (of_kind - 1) // 2).sum() - (of_song * (of_song - 1) // 2).sum())
