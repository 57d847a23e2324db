"""Which singers, utterances and crop starts make up batch t: a pure function of (seed, t)."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from singer_verify.data.turns import Turns
from singer_verify.errors import SingerVerifyError, require_at_least

# Streams of random numbers, so that no two decisions ever share one.
SINGERS, UTTERANCES, CROPS = range(3)


@dataclass(frozen=True)
class BatchPlan:
    """Contents of one batch.

    Attributes:
        singers: (singers,), distinct.
        utterances: (singers, utterances), numbers in the store.
        starts: (singers, utterances), first frame of each crop within its utterance.
    """

    singers: Int[np.ndarray, " singers"]
    utterances: Int[np.ndarray, "singers utterances"]
    starts: Int[np.ndarray, "singers utterances"]


class Part(NamedTuple):
    """What a rank takes of each batch: the `rank`-th of equal stretches of its singers."""

    rank: int = 0
    num_ranks: int = 1

    def of(self, num_singers: int) -> slice:
        """The stretch of a batch of so many singers."""
        size = num_singers // self.num_ranks
        return slice(self.rank * size, (self.rank + 1) * size)


class SingerSampler:
    """Constrained random order: every singer, and every utterance of a singer, comes once before any comes again.

    Singers follow one another in cycles, each a fresh permutation of all singers, cut into batches; utterances of a
    singer likewise. Over any stretch of batches the numbers of uses of two singers, or of two utterances of a singer,
    differ by two at most. A batch never holds a singer twice; it holds an utterance twice only if its singer has fewer
    than `utterances_per_singer`, and then with different crops as far as the utterance's length allows.

    Args:
        singer_index: (utterances,), the singer of each utterance, numbered from 0 without gaps.
        num_frames_of: (utterances,), length of each utterance in frames.
        singers_per_batch: distinct singers in a batch, at most the singers there are.
        utterances_per_singer: crops of each.
        num_frames: length of a crop.
        seed: of all random choices.
        corpus_of_singer: (singers,), numbered from 0; the singers of a batch are of one corpus, and the corpora take
            turns such that their singers are used equally often. None takes all singers for one corpus. A corpus of
            fewer singers than `singers_per_batch` has batches of all of them.
    """

    def __init__(
        self,
        singer_index: Int[np.ndarray, " utterances"],
        num_frames_of: Int[np.ndarray, " utterances"],
        singers_per_batch: int,
        utterances_per_singer: int,
        num_frames: int,
        seed: int,
        corpus_of_singer: Int[np.ndarray, " singers"] | None = None,
    ) -> None:
        require_at_least(1, utterances_per_singer=utterances_per_singer, num_frames=num_frames)
        require_at_least(0, seed=seed)
        self.num_utterances_of = np.bincount(singer_index)
        self.num_singers = len(self.num_utterances_of)
        if not 2 <= singers_per_batch <= self.num_singers:
            raise SingerVerifyError(
                f"singers_per_batch={singers_per_batch}: expected 2 to {self.num_singers}, the singers there are."
            )
        self.singers_per_batch, self.utterances_per_singer = singers_per_batch, utterances_per_singer
        self.num_frames, self.seed = num_frames, seed
        self.num_starts_of = np.maximum(num_frames_of - num_frames + 1, 1)
        corpora = np.zeros(self.num_singers, np.int64) if corpus_of_singer is None else corpus_of_singer
        self.members = [np.flatnonzero(corpora == corpus) for corpus in range(int(corpora.max()) + 1)]
        self.batch_sizes = [min(singers_per_batch, len(members)) for members in self.members]
        if min(self.batch_sizes) < 2:
            raise SingerVerifyError("a corpus holds one singer; expected at least 2 in each, to tell apart.")
        self.turns = Turns([len(members) for members in self.members], self.batch_sizes)
        self.by_singer = np.argsort(singer_index, kind="stable")
        self.first_of = np.concatenate([[0], self.num_utterances_of.cumsum()[:-1]])

    def batch(self, step: int) -> BatchPlan:
        """The plan of batch `step`, counted from 0."""
        corpus, turn = self.turns.of(step)
        members, size = self.members[corpus], self.batch_sizes[corpus]
        places, earlier = cyclic_draw(len(members), size, turn, (self.seed, SINGERS, corpus))
        singers = members[places]
        draws = zip(singers.tolist(), earlier.tolist(), strict=True)
        utterances = np.stack([self._utterances(singer, draw) for singer, draw in draws])
        return BatchPlan(singers, utterances, self._starts(utterances, step))

    def num_singers_of(self, step: int) -> int:
        """Singers of batch `step`."""
        return self.batch_sizes[self.turns.of(step)[0]]

    def _utterances(self, singer: int, draw: int) -> Int[np.ndarray, " utterances"]:
        """Utterances for the singer's `draw`-th appearance in a batch."""
        available = int(self.num_utterances_of[singer])
        all_of_them, remainder = divmod(self.utterances_per_singer, available)
        places = np.tile(np.arange(available), all_of_them)
        if remainder:
            drawn, _ = cyclic_draw(available, remainder, draw, (self.seed, UTTERANCES, singer))
            places = np.concatenate([places, drawn]) if all_of_them else drawn
        return self.by_singer[self.first_of[singer] + places]

    def _starts(
        self, utterances: Int[np.ndarray, "singers utterances"], step: int
    ) -> Int[np.ndarray, "singers utterances"]:
        """Uniform starts; where an utterance comes several times, each of its crops starts in a stretch of its own."""
        flat = utterances.ravel()
        _, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
        times = counts[inverse]
        order = np.argsort(inverse, kind="stable")
        turn = np.empty_like(flat)
        turn[order] = np.arange(len(flat)) - np.repeat(counts.cumsum() - counts, counts)
        num_starts = self.num_starts_of[flat]
        lowest, next_lowest = turn * num_starts // times, (turn + 1) * num_starts // times
        uniform = _generator(self.seed, CROPS, 0, step).random(len(flat))
        return (lowest + (uniform * (next_lowest - lowest)).astype(np.int64)).reshape(utterances.shape)


def cyclic_draw(
    num_items: int, size: int, draw: int, stream: tuple[int, int, int]
) -> tuple[Int[np.ndarray, " size"], Int[np.ndarray, " size"]]:
    """The `draw`-th group of `size` distinct items, when items follow one another in cycles of fresh permutations.

    Each item comes with the number of the cycle it is taken from: so many times the item was drawn before.

    Groups and cycles coincide again after `num_items / gcd(num_items, size)` groups; each such block is worked out on
    its own, so that any draw can be reached without the ones before it.

    Args:
        num_items: from which to draw.
        size: items of a group, at most `num_items`.
        draw: counted from 0.
        stream: seed, kind of decision and a further number, which together choose the random numbers.
    """
    common = math.gcd(num_items, size)
    groups_per_block, cycles_per_block = num_items // common, size // common
    block, group = divmod(draw, groups_per_block)
    items = _block_of_cycles(num_items, size, cycles_per_block, block, stream)
    places = np.arange(group * size, (group + 1) * size)
    return items[places], block * cycles_per_block + places // num_items


@lru_cache(maxsize=8192)
def _block_of_cycles(
    num_items: int, size: int, cycles: int, block: int, stream: tuple[int, int, int]
) -> Int[np.ndarray, " items"]:
    """Permutations one after another, such that no group of `size` that spans two of them holds an item twice."""
    seed, kind, number = stream
    generator = _generator(seed, kind, number, block)
    order: list[int] = []
    for _ in range(cycles):
        permutation = generator.permutation(num_items).tolist()
        begun = len(order) % size  # items of the unfinished group, which the next ones must differ from
        if begun:
            taken = set(order[-begun:])
            first = [item for item in permutation if item not in taken][: size - begun]
            chosen = set(first)
            permutation = first + [item for item in permutation if item not in chosen]
        order += permutation
    return np.array(order, np.int64)


def _generator(seed: int, kind: int, number: int, block: int) -> np.random.Generator:
    """Counter-based random numbers (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").

    The lowest word of the counter is left to the generator, so streams of fewer than 2^64 numbers never overlap.
    """
    return np.random.Generator(np.random.Philox(key=[seed, kind], counter=[0, 0, number, block]))
