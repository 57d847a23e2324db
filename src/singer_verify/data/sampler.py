"""Plans of training batches: corpus, singers, utterances and crop starts, as a pure function of (seed, step).

`CorpusSchedule` picks the corpus of each batch, `SingerSampler` its singers, utterances and crops, and `RankShard` the
part of it that one rank loads. Nothing is stateful, so a resumed run draws the batches it would have drawn anyway.
"""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from singer_verify.corpora.corpus import compute_corpus_indices
from singer_verify.errors import SingerVerifyError, require_at_least
from singer_verify.store.packed import PackedStore

log = logging.getLogger(__name__)
# Separate random streams, so that no two kinds of decision share random numbers.
SINGER_STREAM, UTTERANCE_STREAM, CROP_STREAM, LENGTH_STREAM = range(4)


class CorpusSchedule:
    """A schedule of corpora under which all singers of all corpora are drawn equally often.

    A corpus with S singers and B singers per batch draws each singer B / S times per batch, so its share of the batches
    is proportional to S / B. The schedule is periodic; within a cycle the batches of each corpus are spread evenly.

    Args:
        num_singers: number of singers in each corpus.
        batch_sizes: singers per batch for each corpus.
    """

    def __init__(self, num_singers: list[int], batch_sizes: list[int]) -> None:
        common = math.lcm(*batch_sizes)
        counts = [singers * (common // size) for singers, size in zip(num_singers, batch_sizes, strict=True)]
        counts = [count // math.gcd(*counts) for count in counts]
        positions = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
        corpora = np.repeat(np.arange(len(counts)), counts)
        self.order = corpora[np.argsort(positions, kind="stable")]
        self.batches_per_cycle = counts
        self.num_batches_before = [
            np.concatenate([[0], (self.order == corpus).cumsum()]) for corpus in range(len(counts))
        ]

    def locate_batch(self, step: int) -> tuple[int, int]:
        """Return the corpus of batch `step` and the number of earlier batches from that corpus."""
        cycle, place = divmod(step, len(self.order))
        corpus = int(self.order[place])
        return corpus, cycle * self.batches_per_cycle[corpus] + int(self.num_batches_before[corpus][place])


@dataclass(frozen=True)
class BatchPlan:
    """The singers, utterances and crop starts of one batch.

    Attributes:
        singers: (singers,), distinct.
        utterances: (singers, utterances), indices into the store.
        starts: (singers, utterances), first frame of each crop within its utterance.
        num_frames: length of every crop.
    """

    singers: Int[np.ndarray, " singers"]
    utterances: Int[np.ndarray, "singers utterances"]
    starts: Int[np.ndarray, "singers utterances"]
    num_frames: int


class RankShard(NamedTuple):
    """The part of every batch that one rank loads: the `rank`-th of `num_ranks` equal, contiguous groups of singers."""

    rank: int = 0
    num_ranks: int = 1

    def compute_slice(self, num_singers: int) -> slice:
        """Return the slice of this rank in a batch of `num_singers` singers."""
        size = num_singers // self.num_ranks
        return slice(self.rank * size, (self.rank + 1) * size)


class SingerSampler:
    """A balanced random sampler: every singer, and every utterance of a singer, is used once before any is used again.

    Singers come in cycles, each a fresh permutation of all singers, cut into batches; the utterances of a singer
    likewise. Over any range of batches the usage counts of two singers, or of two utterances of a singer, differ by at
    most two. A batch never contains a singer twice. It contains an utterance twice only if the singer has fewer than
    `utterances_per_singer`, and then with different crops as far as the length of the utterance allows.

    Args:
        singer_index: (utterances,), singer index of each utterance, from 0 without gaps.
        utterance_lengths: (utterances,), length of each utterance in frames.
        singers_per_batch: distinct singers per batch, at most the number of singers.
        utterances_per_singer: crops per singer.
        num_frames: crop length in frames.
        seed: seed of all random choices.
        min_frames: shortest crop; each batch has one length, drawn between this and `num_frames`. None makes all crops
            `num_frames` long.
        corpus_index: (singers,), corpus of each singer, from 0. The singers of a batch come from one corpus, see
            `CorpusSchedule`; a corpus with fewer than `singers_per_batch` singers has batches of all of them. None
            treats all singers as one corpus.

    Raises:
        SingerVerifyError: fewer than two singers in a batch or a corpus, or more per batch than there are.
    """

    def __init__(
        self,
        singer_index: Int[np.ndarray, " utterances"],
        utterance_lengths: Int[np.ndarray, " utterances"],
        singers_per_batch: int,
        utterances_per_singer: int,
        num_frames: int,
        seed: int,
        corpus_index: Int[np.ndarray, " singers"] | None = None,
        min_frames: int | None = None,
    ) -> None:
        require_at_least(1, utterances_per_singer=utterances_per_singer, num_frames=num_frames)
        require_at_least(0, seed=seed)
        self.utterance_counts = np.bincount(singer_index)
        self.num_singers = len(self.utterance_counts)
        if not 2 <= singers_per_batch <= self.num_singers:
            raise SingerVerifyError(
                f"singers_per_batch={singers_per_batch}: expected 2 to {self.num_singers}, the number of singers."
            )
        self.singers_per_batch, self.utterances_per_singer = singers_per_batch, utterances_per_singer
        self.num_frames, self.seed = num_frames, seed
        self.min_frames = num_frames if min_frames is None else min_frames
        self.utterance_lengths = utterance_lengths
        corpora = np.zeros(self.num_singers, np.int64) if corpus_index is None else corpus_index
        self.corpus_members = [np.flatnonzero(corpora == corpus) for corpus in range(int(corpora.max()) + 1)]
        self.batch_sizes = [min(singers_per_batch, len(members)) for members in self.corpus_members]
        if min(self.batch_sizes) < 2:
            raise SingerVerifyError("a corpus has only one singer; every corpus needs at least 2.")
        self.schedule = CorpusSchedule([len(members) for members in self.corpus_members], self.batch_sizes)
        self.utterances_by_singer = np.argsort(singer_index, kind="stable")
        self.singer_offsets = np.concatenate([[0], self.utterance_counts.cumsum()[:-1]])

    def plan_batch(self, step: int) -> BatchPlan:
        """Return the plan of batch `step`, counted from 0."""
        corpus, turn = self.schedule.locate_batch(step)
        members, size = self.corpus_members[corpus], self.batch_sizes[corpus]
        places, earlier = draw_cyclic_group(len(members), size, turn, (self.seed, SINGER_STREAM, corpus))
        singers = members[places]
        draws = zip(singers.tolist(), earlier.tolist(), strict=True)
        utterances = np.stack([self._draw_utterances(singer, draw) for singer, draw in draws])
        num_frames = self.draw_num_frames(step)
        return BatchPlan(singers, utterances, self._draw_starts(utterances, step, num_frames), num_frames)

    def draw_num_frames(self, step: int) -> int:
        """Return the length of the crops of batch `step`."""
        if self.min_frames == self.num_frames:
            return self.num_frames
        generator = _build_philox_generator(self.seed, LENGTH_STREAM, 0, step)
        return int(generator.integers(self.min_frames, self.num_frames + 1))

    def count_batch_singers(self, step: int) -> int:
        """Return the number of singers in batch `step`."""
        return self.batch_sizes[self.schedule.locate_batch(step)[0]]

    def _draw_utterances(self, singer: int, draw: int) -> Int[np.ndarray, " utterances"]:
        """Draw the utterances for the `draw`-th time a singer appears in a batch."""
        available = int(self.utterance_counts[singer])
        all_of_them, remainder = divmod(self.utterances_per_singer, available)
        places = np.tile(np.arange(available), all_of_them)
        if remainder:
            drawn, _ = draw_cyclic_group(available, remainder, draw, (self.seed, UTTERANCE_STREAM, singer))
            places = np.concatenate([places, drawn]) if all_of_them else drawn
        return self.utterances_by_singer[self.singer_offsets[singer] + places]

    def _draw_starts(
        self, utterances: Int[np.ndarray, "singers utterances"], step: int, num_frames: int
    ) -> Int[np.ndarray, "singers utterances"]:
        """Draw uniform crop starts; repeated crops of an utterance start in disjoint ranges."""
        flat = utterances.ravel()
        _, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
        times = counts[inverse]
        order = np.argsort(inverse, kind="stable")
        turn = np.empty_like(flat)
        turn[order] = np.arange(len(flat)) - np.repeat(counts.cumsum() - counts, counts)
        num_starts = np.maximum(self.utterance_lengths[flat] - num_frames + 1, 1)
        lowest, next_lowest = turn * num_starts // times, (turn + 1) * num_starts // times
        uniform = _build_philox_generator(self.seed, CROP_STREAM, 0, step).random(len(flat))
        return (lowest + (uniform * (next_lowest - lowest)).astype(np.int64)).reshape(utterances.shape)


def draw_cyclic_group(
    num_items: int, size: int, draw: int, stream: tuple[int, int, int]
) -> tuple[Int[np.ndarray, " size"], Int[np.ndarray, " size"]]:
    """Return the `draw`-th group of `size` distinct items from an endless sequence of fresh permutations.

    Groups and permutations line up again after `num_items / gcd(num_items, size)` groups. Each such block is computed
    independently, so any draw can be reached without computing the ones before it.

    Args:
        num_items: number of items to draw from.
        size: items per group, at most `num_items`.
        draw: index of the group, counted from 0.
        stream: seed, kind of decision and a further number; together they select the random numbers.

    Returns:
        The items, and for each of them the number of times it was drawn before.
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
    """Concatenate permutations so that no group of `size` items contains an item twice, even across a boundary."""
    seed, kind, number = stream
    generator = _build_philox_generator(seed, kind, number, block)
    order: list[int] = []
    for _ in range(cycles):
        permutation = generator.permutation(num_items).tolist()
        begun = len(order) % size  # items already in the unfinished group; the next ones must differ from them
        if begun:
            taken = set(order[-begun:])
            first = [item for item in permutation if item not in taken][: size - begun]
            chosen = set(first)
            permutation = first + [item for item in permutation if item not in chosen]
        order += permutation
    return np.array(order, np.int64)


def _build_philox_generator(seed: int, kind: int, number: int, block: int) -> np.random.Generator:
    """Build a counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").

    The generator advances the lowest word of the counter, so streams shorter than 2^64 numbers never overlap.
    """
    return np.random.Generator(np.random.Philox(key=[seed, kind], counter=[0, 0, number, block]))


class BatchShape(NamedTuple):
    """The requested shape of a training batch.

    Attributes:
        singers: distinct singers per batch; reduced to the number of singers in the split if that is smaller.
        utterances: crops per singer.
        num_frames: crop length in frames.
        min_frames: shortest crop length in frames; None makes all crops equally long.
    """

    singers: int
    utterances: int
    num_frames: int
    min_frames: int | None = None


def build_sampler(
    store: PackedStore,
    folder: Path,
    utterance_lengths: Int[np.ndarray, " utterances"],
    shape: BatchShape,
    seed: int,
    one_corpus: bool,
) -> SingerSampler:
    """Build the sampler of a split, with smaller batches and a warning if it has too few singers.

    Args:
        store: the store of the split.
        folder: folder of the split, named in messages.
        utterance_lengths: (utterances,), length of each utterance in frames.
        shape: requested shape of a batch.
        seed: seed of the batches.
        one_corpus: draw the singers of a batch from one corpus.

    Raises:
        SingerVerifyError: the split has fewer than two singers.
    """
    num_singers = len(store.singers)
    if num_singers < 2:
        raise SingerVerifyError(f"{folder}: has only one singer, {store.singers[0]}; training needs at least 2.")
    if num_singers < shape.singers:
        log.warning(
            "%s: %d singers, fewer than data.singers_per_batch=%d; using batches of %d singers.",
            *(folder.name, num_singers, shape.singers, num_singers),
        )
    corpora = compute_corpus_indices(store.singers) if one_corpus else None
    counts = min(shape.singers, num_singers), shape.utterances, shape.num_frames
    return SingerSampler(store.singer_index, utterance_lengths, *counts, seed, corpora, shape.min_frames)


def require_divisible_batches(batch_sizes: Iterable[int], num_ranks: int) -> None:
    """Check that the singers of every batch can be divided equally among the devices.

    Raises:
        SingerVerifyError: a batch size is not a multiple of `num_ranks`.
    """
    if indivisible := [size for size in batch_sizes if size % num_ranks]:
        raise SingerVerifyError(
            f"data.singers_per_batch={indivisible[0]}: cannot be divided among {num_ranks} devices; expected a "
            f"multiple of {num_ranks}."
        )
