"""Trial lists from utterances: all pairs, or a seeded draw that is balanced and even over singers.

Why our own: a draw has to be even over singers and over pairs of singers, free of duplicates, and possible where 30 000
utterances make 4.5e8 pairs. No library samples under these conditions. Pairs are numbered instead of listed, and drawn
by rejection, so that memory grows with the number of trials and of pairs of singers only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse
from jaxtyping import Bool, Int, Shaped

from singer_verify.errors import SingerVerifyError, require_at_least
from singer_verify.evaluation.conditions import UNKNOWN
from singer_verify.evaluation.trials.trial_list import Trials

MAX_POOL_PAIRS = 20_000_000  # about two gigabytes as text
MAX_DRAWS = 4_000_000  # candidate pairs in memory at once, per step of the rejection sampling
DEFAULT_MAX_TRIALS_PER_KIND = 10_000  # unless more are asked for


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
        labels: for each label its value for every utterance, `""` where unknown.

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
        seed: of the draw.

    Returns:
        the trials, in terms of `TrialPool.utterance`.

    Raises:
        SingerVerifyError: there are fewer trials than asked for.
    """
    require_at_least(1, num=num_per_kind)
    _require_enough_trials(pool, num_per_kind)
    generator = np.random.default_rng(seed)
    singers = generator.permutation(np.unique(pool.singer))
    targets = SingerPairBlocks(pool, singers, singers)
    nontargets = _choose_singer_pairs(pool, singers, num_per_kind)
    drawn = [
        np.stack(sample_pairs(blocks, allocate_evenly(blocks.capacity, num_per_kind), generator))
        for blocks in (targets, nontargets)
    ]
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


class SingerPairBlocks:
    """All pairs of utterances of some pairs of singers, numbered block by block so that none has to be listed.

    Args:
        pool: of utterances.
        first: (blocks,), a singer.
        second: (blocks,), another singer, or the same for target trials.

    Attributes:
        size: (blocks,), how many numbers a block has.
        capacity: (blocks,), how many of them are trials.
    """

    def __init__(self, pool: TrialPool, first: Int[np.ndarray, " blocks"], second: Int[np.ndarray, " blocks"]) -> None:
        self.pool, self.first, self.second = pool, first, second
        self._num_utterances = np.bincount(pool.singer)
        self._order = np.argsort(pool.singer, kind="stable")
        self._start = np.cumsum(self._num_utterances) - self._num_utterances
        self.size = self._num_utterances[first] * self._num_utterances[second]
        self.first_number = np.cumsum(self.size) - self.size
        self.capacity = self._count_trials()

    def _count_trials(self) -> Int[np.ndarray, " blocks"]:
        """Count trials by a sparse table of how often each singer sings each song that is sung more than once."""
        singer, song = self.pool.singer, self.pool.song
        is_repeated = np.bincount(song)[song] > 1
        shape = (len(self._num_utterances), int(song.max()) + 1)
        places = (singer[is_repeated], song[is_repeated])
        songs = scipy.sparse.coo_array((np.ones(len(places[0]), np.int64), places), shape).tocsr()
        same_song = np.asarray(songs[self.first].multiply(songs[self.second]).sum(axis=1)).ravel()
        num_once = (self._num_utterances - np.bincount(places[0], minlength=shape[0]))[self.first]
        own = (self.size - same_song - num_once) // 2  # one of two orders, and no utterance with itself
        return np.where(self.first == self.second, own, self.size - same_song)

    def get_sides(
        self, number: Int[np.ndarray, " numbers"]
    ) -> tuple[Int[np.ndarray, " numbers"], Int[np.ndarray, " numbers"]]:
        """Return the positions in the pool of the two utterances of each number."""
        block = np.searchsorted(self.first_number, number, side="right") - 1
        first, second = self.first[block], self.second[block]
        left, right = np.divmod(number - self.first_number[block], self._num_utterances[second])
        return self._order[self._start[first] + left], self._order[self._start[second] + right]

    def is_trial(self, number: Int[np.ndarray, " numbers"]) -> Bool[np.ndarray, " numbers"]:
        """Return whether each number is a trial; for a singer's own pairs, one of the two orders is."""
        left, right = self.get_sides(number)
        is_own = self.pool.singer[left] == self.pool.singer[right]
        return (self.pool.song[left] != self.pool.song[right]) & (~is_own | (left < right))


def sample_pairs(
    blocks: SingerPairBlocks, wanted: Int[np.ndarray, " blocks"], generator: np.random.Generator
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Draw trials without replacement, every set of them within a block being equally likely.

    Args:
        blocks: to draw from.
        wanted: (blocks,), how many from each, at most its capacity.
        generator: of random numbers.

    Returns:
        the positions in the pool of the two utterances of each pair, block by block.
    """
    numbers, lacking = np.empty(0, np.int64), wanted
    while lacking.any():
        remaining = np.maximum(blocks.capacity - (wanted - lacking), 1)
        num_draws = np.minimum(np.ceil(lacking * (1.5 * blocks.size / remaining)), MAX_DRAWS).astype(np.int64)
        num_blocks = np.searchsorted(np.cumsum(num_draws), MAX_DRAWS) + 1
        block = np.repeat(np.arange(len(wanted))[:num_blocks], num_draws[:num_blocks])
        candidates = blocks.first_number[block] + generator.integers(blocks.size[block])
        is_new = ~pd.Series(np.concatenate([numbers, candidates])).duplicated().to_numpy()[len(numbers) :]
        is_usable = is_new & blocks.is_trial(candidates)
        block, candidates = block[is_usable], candidates[is_usable]
        counts = np.bincount(block, minlength=len(wanted))
        rank = np.arange(len(block)) - np.repeat(np.cumsum(counts) - counts, counts)
        numbers = np.concatenate([numbers, candidates[rank < lacking[block]]])
        lacking = lacking - np.minimum(counts, lacking)
    return blocks.get_sides(np.sort(numbers))


def allocate_evenly(capacity: Int[np.ndarray, " blocks"], num: int) -> Int[np.ndarray, " blocks"]:
    """Share out `num` trials over blocks so that none has two more than another that has room.

    Args:
        capacity: of each; together at least `num`.
        num: to share out; what cannot be divided goes to the first blocks with room.
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
        share: of the rounds to return, above 0, at most 1: all pairs.
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


def _choose_singer_pairs(pool: TrialPool, singers: Int[np.ndarray, " singers"], num: int) -> SingerPairBlocks:
    """Choose pairs of singers for `num` non-target trials: one pair for each, or all pairs there are."""
    group_of_singer = np.zeros(len(singers), np.int64)
    group_of_singer[pool.singer] = pool.group
    groups = [singers[group_of_singer[singers] == group] for group in np.unique(pool.group)]
    share = min(1.0, num / sum(len(group) * (len(group) - 1) // 2 for group in groups))
    while True:  # singers whose only song is the same make no trial, so that more rounds may be needed
        first, second = order_singer_pairs(groups, share)
        kept = np.flatnonzero(SingerPairBlocks(pool, first, second).capacity)[:num]
        if len(kept) == num or share == 1.0:
            return SingerPairBlocks(pool, first[kept], second[kept])
        share = min(1.0, 2 * share)


def _require_enough_trials(pool: TrialPool, num_per_kind: int) -> None:
    for kind, available in zip(("target", "non-target"), pool.num_available, strict=True):
        if available < num_per_kind:
            most, num_singers = min(pool.num_available), len(np.unique(pool.singer))
            needs = "expected singers with several utterances, and for hard trials several songs of each"
            raise SingerVerifyError(
                f"num={num_per_kind}: the {len(pool.utterance)} utterances of {num_singers} singers to draw from "
                f"make {available} {kind} trials; {f'ask for at most {most}' if most else needs}."
            )


def _encode_values(values: np.ndarray) -> Int[np.ndarray, " values"]:
    return pd.factorize(values, sort=True)[0].astype(np.int64)


def _count_cross_song_pairs(kind: Int[np.ndarray, " pool"], song: Int[np.ndarray, " pool"]) -> int:
    """Count the pairs of utterances of one kind and two songs."""
    table = pd.DataFrame({"kind": kind, "song": song})
    of_kind, of_song = table.value_counts("kind").to_numpy(), table.value_counts().to_numpy()
    return int((of_kind * (of_kind - 1) // 2).sum() - (of_song * (of_song - 1) // 2).sum())
