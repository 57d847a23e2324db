"""The utterances that trials are drawn from, under a rule that says which two make one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import scipy.sparse
from jaxtyping import Bool, Int, Shaped

from singer_verify.errors import SingerVerifyError, require_at_least
from singer_verify.evaluation.conditions import UNKNOWN
from singer_verify.evaluation.trials.trial_list import Trials

MAX_POOL_PAIRS = 20_000_000  # about two gigabytes as text


@dataclass(frozen=True)
class TrialPool:
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
        num_targets = _count_cross_song_pairs(self.singer, self.song)
        return num_targets, _count_cross_song_pairs(self.group, self.song) - num_targets


def build_full_pool(singers: Shaped[np.ndarray, " utterances"]) -> TrialPool:
    """Any two utterances make a trial.

    Args:
        singers: (utterances,), names or numbers.
    """
    numbers = np.arange(len(singers))
    return TrialPool(numbers, _encode_values(singers), numbers, np.zeros_like(numbers))


def build_hard_pool(singers: Shaped[np.ndarray, " utterances"], labels: dict[str, np.ndarray]) -> TrialPool:
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
    gender = _encode_values(labels["gender"][kept])
    _require_one_gender(singers[kept], gender)
    return TrialPool(kept, _encode_values(singers[kept]), _encode_values(labels["song"][kept]), gender)


def list_all_trials(pool: TrialPool) -> Trials:
    """Every trial there is, by the numbers of `TrialPool.utterance`.

    Raises:
        SingerVerifyError: too many to list.
    """
    num_pairs = len(pool.utterance) * (len(pool.utterance) - 1) // 2
    if num_pairs > MAX_POOL_PAIRS:
        raise SingerVerifyError(
            f"{len(pool.utterance)} utterances make {num_pairs} pairs, more than {MAX_POOL_PAIRS}, too many to list; draw "
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


def _encode_values(values: np.ndarray) -> Int[np.ndarray, " values"]:
    """The place of each value among all values, sorted."""
    return pd.factorize(values, sort=True)[0].astype(np.int64)


def _count_cross_song_pairs(kind: Int[np.ndarray, " pool"], song: Int[np.ndarray, " pool"]) -> int:
    """Pairs of utterances of one kind and two songs."""
    numbers = np.unique(np.column_stack([kind, song]), axis=0, return_inverse=True)[1]
    return _count_pairs(kind) - _count_pairs(numbers.ravel())


def _count_pairs(kind: Int[np.ndarray, " pool"]) -> int:
    counts = np.unique(kind, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def schedule_rounds(
    num_players: int, num_rounds: int
) -> tuple[Int[np.ndarray, "rounds pairs"], Int[np.ndarray, "rounds pairs"]]:
    """The first rounds of a tournament of at least two players: who meets whom."""
    num_seats = num_players + num_players % 2
    circle = num_seats - 1
    turn = np.arange(num_rounds)[:, None]
    place = np.arange(1, num_seats // 2)
    first, second = (turn + place) % circle, (turn - place) % circle
    if num_players == num_seats:  # else the last seat is empty, and who would meet it sits out
        first = np.hstack([first, np.full_like(turn, circle)])
        second = np.hstack([second, turn])
    return first, second


def schedule_pairs(
    groups: Sequence[np.ndarray], share: float
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """The pairs of each group's first rounds, the groups advancing side by side.

    Args:
        groups: singers who may meet, at random places.
        share: of all rounds, above 0, at most 1: all pairs.
    """
    first, second, progress = [], [], []
    for singers in groups:
        if len(singers) > 1:
            total = len(singers) - 1 + len(singers) % 2
            left, right = schedule_rounds(len(singers), int(np.ceil(share * total)))
            first.append(singers[left.ravel()])
            second.append(singers[right.ravel()])
            progress.append(np.repeat(np.arange(1, len(left) + 1) / total, left.shape[1]))
    if not first:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    order = np.argsort(np.concatenate(progress), kind="stable")
    return np.concatenate(first)[order], np.concatenate(second)[order]


@dataclass(frozen=True)
class SingerPairBlocks:
    """Every pair of utterances of every cell has a number, from which the pair is computed: none needs to be listed.

    Attributes:
        pool: of utterances.
        first: (cells,), number of a singer.
        second: (cells,), of another, or of the same.
    """

    pool: TrialPool
    first: Int[np.ndarray, " cells"]
    second: Int[np.ndarray, " cells"]

    @cached_property
    def size(self) -> Int[np.ndarray, " cells"]:
        """How many numbers each cell has, those of pairs that make no trial among them."""
        return self._num_utterances[self.first] * self._num_utterances[self.second]

    @cached_property
    def first_number(self) -> Int[np.ndarray, " cells"]:
        """The first number of each cell."""
        return np.cumsum(self.size) - self.size

    @cached_property
    def num_trials_per_block(self) -> Int[np.ndarray, " cells"]:
        """How many trials each cell has."""
        songs = self._shared_songs
        same_song = np.asarray(songs[self.first].multiply(songs[self.second]).sum(axis=1)).ravel()
        of_one = (self._num_utterances**2 - self._num_same_song) // 2
        return np.where(self.first == self.second, of_one[self.first], self.size - same_song)

    def find_block(self, number: Int[np.ndarray, " numbers"]) -> Int[np.ndarray, " numbers"]:
        """In which cell a number is."""
        return np.searchsorted(self.first_number, number, side="right") - 1

    def sides(
        self, number: Int[np.ndarray, " numbers"], cell: Int[np.ndarray, " numbers"]
    ) -> tuple[Int[np.ndarray, " numbers"], Int[np.ndarray, " numbers"]]:
        """The places in the pool of the two utterances of a number."""
        left, right = np.divmod(number - self.first_number[cell], self._num_utterances[self.second[cell]])
        return self._order[self._first_utterance[self.first[cell]] + left], self._order[
            self._first_utterance[self.second[cell]] + right
        ]

    def is_trial(
        self, number: Int[np.ndarray, " numbers"], cell: Int[np.ndarray, " numbers"]
    ) -> Bool[np.ndarray, " numbers"]:
        """Whether the pair of a number makes a trial. Of a singer's own pairs, one of the two orders does."""
        left, right = self.sides(number, cell)
        is_chosen_order = (self.first[cell] != self.second[cell]) | (left < right)
        return is_chosen_order & (self.pool.song[left] != self.pool.song[right])

    @cached_property
    def _num_utterances(self) -> Int[np.ndarray, " singers"]:
        return np.bincount(self.pool.singer)

    @cached_property
    def _order(self) -> Int[np.ndarray, " pool"]:
        return np.argsort(self.pool.singer, kind="stable")

    @cached_property
    def _first_utterance(self) -> Int[np.ndarray, " singers"]:
        return np.cumsum(self._num_utterances) - self._num_utterances

    @cached_property
    def _songs(self) -> scipy.sparse.csr_array:
        """(singers, songs), how often each sings each."""
        ones = np.ones(len(self.pool.singer), np.int64)
        return scipy.sparse.coo_array((ones, (self.pool.singer, self.pool.song))).tocsr()

    @cached_property
    def _shared_songs(self) -> scipy.sparse.csr_array:
        """The same of songs that several singers sing."""
        num_singers_of = np.bincount(self._songs.indices, minlength=self._songs.shape[1])
        return self._songs[:, num_singers_of > 1]

    @cached_property
    def _num_same_song(self) -> Int[np.ndarray, " singers"]:
        """Ordered pairs of one song among a singer's own, each utterance with itself included."""
        return np.asarray(self._songs.multiply(self._songs).sum(axis=1)).ravel()


MAX_LISTED_PAIRS = 4_000_000  # pairs at once, unless one cell has more
MAX_DRAWS_PER_TRIAL = 8  # of numbers for one that makes a trial, on average


def sample_pairs(
    cells: SingerPairBlocks, wanted: Int[np.ndarray, " cells"], generator: np.random.Generator
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """
    Args:
        cells: to draw from.
        wanted: (cells,), how many from each, at most its capacity.
        generator: of random numbers.

    Returns:
        the places in the pool of the two utterances of each pair, cell by cell.
    """
    is_listed = (2 * wanted > cells.num_trials_per_block) | (
        MAX_DRAWS_PER_TRIAL * cells.num_trials_per_block < cells.size
    )
    to_list = np.flatnonzero(is_listed & (wanted > 0))
    drawn = _draw_pair_numbers(cells, np.where(is_listed, 0, wanted), generator)
    listed = [_subsample_pairs(cells, numbers, wanted, generator) for numbers in _list_pair_numbers(cells, to_list)]
    numbers = np.sort(np.concatenate([drawn, *listed]))
    return cells.sides(numbers, cells.find_block(numbers))


def _draw_pair_numbers(
    cells: SingerPairBlocks, wanted: Int[np.ndarray, " cells"], generator: np.random.Generator
) -> Int[np.ndarray, " pairs"]:
    numbers = np.empty(0, np.int64)
    lacking = wanted
    while lacking.any():
        cell = np.repeat(np.arange(len(wanted)), 3 * lacking)
        fresh = cells.first_number[cell] + generator.integers(cells.size[cell])
        fresh = fresh[cells.is_trial(fresh, cell)]
        numbers = _subsample_pairs(cells, _deduplicate(np.concatenate([numbers, fresh])), wanted, generator)
        lacking = wanted - np.bincount(cells.find_block(numbers), minlength=len(wanted))
    return numbers


def _deduplicate(numbers: Int[np.ndarray, " numbers"]) -> Int[np.ndarray, " distinct"]:
    ascending = np.sort(numbers)  # np.unique hashes, which takes ten times as long here
    return ascending[np.append(True, ascending[1:] != ascending[:-1])] if len(ascending) else ascending


def _list_pair_numbers(
    cells: SingerPairBlocks, chosen: Int[np.ndarray, " chosen"]
) -> Iterator[Int[np.ndarray, " numbers"]]:
    """All numbers of the chosen cells that make trials, so many at once as memory allows."""
    batch = np.cumsum(cells.size[chosen]) // MAX_LISTED_PAIRS
    for part in np.split(chosen, np.flatnonzero(np.diff(batch)) + 1):
        size = cells.size[part]
        cell = np.repeat(part, size)
        numbers = np.arange(size.sum()) + np.repeat(cells.first_number[part] - (np.cumsum(size) - size), size)
        yield numbers[cells.is_trial(numbers, cell)]


def _subsample_pairs(
    cells: SingerPairBlocks,
    numbers: Int[np.ndarray, " numbers"],
    wanted: Int[np.ndarray, " cells"],
    generator: np.random.Generator,
) -> Int[np.ndarray, " kept"]:
    """At random, no more of each cell than wanted."""
    cell = cells.find_block(numbers)
    order = np.lexsort((generator.random(len(numbers)), cell))
    counts = np.bincount(cell, minlength=len(wanted))
    rank = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)
    return numbers[order[rank < wanted[cell[order]]]]


DEFAULT_MAX_TRIALS_PER_KIND = 10_000  # unless more are asked for


def draw_trials(pool: TrialPool, num_per_kind: int, seed: int) -> Trials:
    """Draw target and non-target trials, none twice (a, b is b, a), no utterance against itself.

    Every singer has as many target trials as every other, and every pair of singers as many non-target trials; those
    who have too few utterances for their share have all of them. Where there are more pairs of singers than trials, the
    pairs are the rounds of a tournament (`round_robin`). The trials are in random order, their sides too.

    Args:
        pool: the utterances, and which of them make trials.
        num_per_kind: target trials, and as many non-target trials.
        seed: of the draw.

    Returns:
        by the numbers of `TrialPool.utterance`.

    Raises:
        SingerVerifyError: there are fewer trials than asked for.
    """
    require_at_least(1, num=num_per_kind)
    _require_enough_trials(pool, num_per_kind)
    generator = np.random.default_rng(seed)
    singers = generator.permutation(np.unique(pool.singer))
    targets = _draw_pairs(SingerPairBlocks(pool, singers, singers), num_per_kind, generator)
    nontargets = _draw_pairs(_choose_singer_pairs(pool, singers, num_per_kind), num_per_kind, generator)
    sides = generator.permuted(np.hstack([targets, nontargets]), axis=0)
    order = generator.permutation(2 * num_per_kind)
    left, right = pool.utterance[sides[:, order]]
    return Trials(left, right, order < num_per_kind)


def compute_default_num_trials(pool: TrialPool) -> int:
    """Trials of either kind where no number is asked for: all of the rarer kind, at most `DEFAULT_MAX_TRIALS_PER_KIND`.

    Raises:
        SingerVerifyError: there are none.
    """
    _require_enough_trials(pool, 1)
    return min(DEFAULT_MAX_TRIALS_PER_KIND, *pool.num_available)


def allocate_evenly(capacity: Int[np.ndarray, " cells"], num: int) -> Int[np.ndarray, " cells"]:
    """`num` things in cells of limited capacity, none with two more than another that has room.

    Args:
        capacity: of each; together at least `num`.
        num: to share out; what cannot be divided goes to the first cells with room.
    """
    ascending = np.sort(capacity)
    filled = np.concatenate([[0], np.cumsum(ascending)])
    num_others = len(capacity) - np.arange(len(capacity))
    num_full = int(np.searchsorted(filled[:-1] + ascending * num_others, num, side="right"))
    if num_full == len(capacity):
        return capacity
    level = (num - int(filled[num_full])) // (len(capacity) - num_full)
    shares = np.minimum(capacity, level)
    shares[np.flatnonzero(capacity > level)[: num - int(shares.sum())]] += 1
    return shares


def _require_enough_trials(pool: TrialPool, num_per_kind: int) -> None:
    for kind, available in zip(("target", "non-target"), pool.num_available, strict=True):
        if available < num_per_kind:
            most, num_singers = min(pool.num_available), len(np.unique(pool.singer))
            needs = "expected singers with several utterances, and for hard trials several songs of each"
            raise SingerVerifyError(
                f"num={num_per_kind}: the {len(pool.utterance)} utterances of {num_singers} singers to draw from "
                f"make {available} {kind} trials; {f'ask for at most {most}' if most else needs}."
            )


def _draw_pairs(cells: SingerPairBlocks, num: int, generator: np.random.Generator) -> Int[np.ndarray, "sides trials"]:
    return np.stack(sample_pairs(cells, allocate_evenly(cells.num_trials_per_block, num), generator))


def _choose_singer_pairs(pool: TrialPool, singers: Int[np.ndarray, " singers"], num: int) -> SingerPairBlocks:
    """Pairs of singers for so many trials: no more pairs than trials, or all pairs there are."""
    group_of = np.zeros(int(pool.singer.max()) + 1, np.int64)
    group_of[pool.singer] = pool.group
    groups = [singers[group_of[singers] == group] for group in np.unique(pool.group)]
    num_pairs = sum(len(group) * (len(group) - 1) // 2 for group in groups)
    share = min(1.0, num / num_pairs)
    while True:
        cells = SingerPairBlocks(pool, *schedule_pairs(groups, share))
        has_trials = np.flatnonzero(cells.num_trials_per_block)
        if len(has_trials) >= num or share == 1.0:
            kept = has_trials[:num]
            return SingerPairBlocks(pool, cells.first[kept], cells.second[kept])
        share = min(1.0, 2 * share)
