"""Which corpus the singers of a batch come from, so that all singers of all corpora are used equally often."""

import logging
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from singer_verify.corpora.corpus import compute_corpus_indices
from singer_verify.errors import SingerVerifyError, require_at_least
from singer_verify.store.packed import PackedStore


class CorpusSchedule:
    """Corpora take turns, each as often as it needs for its singers to be drawn as often as those of the others.

    A corpus of S singers in batches of B of them uses each singer B / S times per batch, so its share of the batches is
    proportional to S / B. The turns repeat after a cycle in which every singer of every corpus comes equally often;
    within it a corpus' turns are spread evenly.

    Args:
        num_singers: of each corpus.
        batch_sizes: singers of each corpus' batches.
    """

    def __init__(self, num_singers: list[int], batch_sizes: list[int]) -> None:
        common = math.lcm(*batch_sizes)
        turns = [singers * (common // size) for singers, size in zip(num_singers, batch_sizes, strict=True)]
        turns = [count // math.gcd(*turns) for count in turns]
        places = np.concatenate([(np.arange(count) + 0.5) / count for count in turns])
        corpora = np.repeat(np.arange(len(turns)), turns)
        self.order = corpora[np.argsort(places, kind="stable")]
        self.turns = turns
        self.num_batches_before = [
            np.concatenate([[0], (self.order == corpus).cumsum()]) for corpus in range(len(turns))
        ]

    def locate_batch(self, step: int) -> tuple[int, int]:
        """The corpus of batch `step`, and how many batches it had before."""
        cycle, place = divmod(step, len(self.order))
        corpus = int(self.order[place])
        return corpus, cycle * self.turns[corpus] + int(self.num_batches_before[corpus][place])


# Streams of random numbers, so that no two decisions ever share one.
SINGER_STREAM, UTTERANCE_STREAM, CROP_STREAM = range(3)


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


class RankShard(NamedTuple):
    """What a rank takes of each batch: the `rank`-th of equal stretches of its singers."""

    rank: int = 0
    num_ranks: int = 1

    def compute_slice(self, num_singers: int) -> slice:
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
        self.utterance_counts = np.bincount(singer_index)
        self.num_singers = len(self.utterance_counts)
        if not 2 <= singers_per_batch <= self.num_singers:
            raise SingerVerifyError(
                f"singers_per_batch={singers_per_batch}: expected 2 to {self.num_singers}, the singers there are."
            )
        self.singers_per_batch, self.utterances_per_singer = singers_per_batch, utterances_per_singer
        self.num_frames, self.seed = num_frames, seed
        self.start_counts = np.maximum(num_frames_of - num_frames + 1, 1)
        corpora = np.zeros(self.num_singers, np.int64) if corpus_of_singer is None else corpus_of_singer
        self.corpus_members = [np.flatnonzero(corpora == corpus) for corpus in range(int(corpora.max()) + 1)]
        self.batch_sizes = [min(singers_per_batch, len(members)) for members in self.corpus_members]
        if min(self.batch_sizes) < 2:
            raise SingerVerifyError("a corpus holds one singer; expected at least 2 in each, to tell apart.")
        self.turns = CorpusSchedule([len(members) for members in self.corpus_members], self.batch_sizes)
        self.utterances_by_singer = np.argsort(singer_index, kind="stable")
        self.singer_offsets = np.concatenate([[0], self.utterance_counts.cumsum()[:-1]])

    def plan_batch(self, step: int) -> BatchPlan:
        """The plan of batch `step`, counted from 0."""
        corpus, turn = self.turns.locate_batch(step)
        members, size = self.corpus_members[corpus], self.batch_sizes[corpus]
        places, earlier = draw_cyclic_group(len(members), size, turn, (self.seed, SINGER_STREAM, corpus))
        singers = members[places]
        draws = zip(singers.tolist(), earlier.tolist(), strict=True)
        utterances = np.stack([self._draw_utterances(singer, draw) for singer, draw in draws])
        return BatchPlan(singers, utterances, self._draw_starts(utterances, step))

    def count_batch_singers(self, step: int) -> int:
        """Singers of batch `step`."""
        return self.batch_sizes[self.turns.locate_batch(step)[0]]

    def _draw_utterances(self, singer: int, draw: int) -> Int[np.ndarray, " utterances"]:
        """Utterances for the singer's `draw`-th appearance in a batch."""
        available = int(self.utterance_counts[singer])
        all_of_them, remainder = divmod(self.utterances_per_singer, available)
        places = np.tile(np.arange(available), all_of_them)
        if remainder:
            drawn, _ = draw_cyclic_group(available, remainder, draw, (self.seed, UTTERANCE_STREAM, singer))
            places = np.concatenate([places, drawn]) if all_of_them else drawn
        return self.utterances_by_singer[self.singer_offsets[singer] + places]

    def _draw_starts(
        self, utterances: Int[np.ndarray, "singers utterances"], step: int
    ) -> Int[np.ndarray, "singers utterances"]:
        """Uniform starts; where an utterance comes several times, each of its crops starts in a stretch of its own."""
        flat = utterances.ravel()
        _, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
        times = counts[inverse]
        order = np.argsort(inverse, kind="stable")
        turn = np.empty_like(flat)
        turn[order] = np.arange(len(flat)) - np.repeat(counts.cumsum() - counts, counts)
        num_starts = self.start_counts[flat]
        lowest, next_lowest = turn * num_starts // times, (turn + 1) * num_starts // times
        uniform = _build_philox_generator(self.seed, CROP_STREAM, 0, step).random(len(flat))
        return (lowest + (uniform * (next_lowest - lowest)).astype(np.int64)).reshape(utterances.shape)


def draw_cyclic_group(
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
    items = _build_cycle_block(num_items, size, cycles_per_block, block, stream)
    places = np.arange(group * size, (group + 1) * size)
    return items[places], block * cycles_per_block + places // num_items


@lru_cache(maxsize=8192)
def _build_cycle_block(
    num_items: int, size: int, cycles: int, block: int, stream: tuple[int, int, int]
) -> Int[np.ndarray, " items"]:
    """Permutations one after another, such that no group of `size` that spans two of them holds an item twice."""
    seed, kind, number = stream
    generator = _build_philox_generator(seed, kind, number, block)
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


def _build_philox_generator(seed: int, kind: int, number: int, block: int) -> np.random.Generator:
    """Counter-based random numbers (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").

    The lowest word of the counter is left to the generator, so streams of fewer than 2^64 numbers never overlap.
    """
    return np.random.Generator(np.random.Philox(key=[seed, kind], counter=[0, 0, number, block]))


log = logging.getLogger(__name__)


class BatchShape(NamedTuple):
    """
    Attributes:
        singers: distinct ones of a batch; fewer, if the split has fewer.
        utterances: crops of each.
        num_frames: of a crop.
    """

    singers: int
    utterances: int
    num_frames: int


def build_sampler(
    store: PackedStore,
    folder: Path,
    num_frames_of: Int[np.ndarray, " utterances"],
    shape: BatchShape,
    seed: int,
    one_corpus: bool,
) -> SingerSampler:
    """
    Args:
        store: of the split.
        folder: of the split, for what is said of it.
        num_frames_of: length of each utterance in frames.
        shape: of a batch.
        seed: of the batches.
        one_corpus: whether the singers of a batch are of one corpus, where there are several.

    Raises:
        SingerVerifyError: fewer than two singers.
    """
    found = len(store.singers)
    if found < 2:
        raise SingerVerifyError(f"{folder}: holds one singer, {store.singers[0]}; expected at least 2, to tell apart.")
    if found < shape.singers:
        log.warning(
            "%s: %d singers, fewer than data.singers_per_batch=%d; its batches hold %d.",
            *(folder.name, found, shape.singers, found),
        )
    corpora = compute_corpus_indices(store.singers) if one_corpus else None
    counts = min(shape.singers, found), shape.utterances, shape.num_frames
    return SingerSampler(store.singer_index, num_frames_of, *counts, seed, corpora)


def require_divisible_batches(sampler: SingerSampler, num_ranks: int) -> None:
    """
    Raises:
        SingerVerifyError: batches that cannot be divided among so many devices.
    """
    if uneven := [size for size in sampler.batch_sizes if size % num_ranks]:
        what = f"data.singers_per_batch={uneven[0]}: cannot be divided among {num_ranks} devices"
        raise SingerVerifyError(f"{what}; expected a multiple of {num_ranks}.")
