"""The sampler of a split: its batches are no larger than the split, and divide among devices."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from singer_verify.corpora.several import corpus_of_singer
from singer_verify.data.sampler import SingerSampler
from singer_verify.errors import SingerVerifyError
from singer_verify.store.packed import PackedStore

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


def sampler_of(
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
    corpora = corpus_of_singer(store.singers) if one_corpus else None
    counts = min(shape.singers, found), shape.utterances, shape.num_frames
    return SingerSampler(store.singer_index, num_frames_of, *counts, seed, corpora)


def require_equal_parts(sampler: SingerSampler, num_ranks: int) -> None:
    """
    Raises:
        SingerVerifyError: batches that cannot be divided among so many devices.
    """
    if uneven := [size for size in sampler.batch_sizes if size % num_ranks]:
        what = f"data.singers_per_batch={uneven[0]}: cannot be divided among {num_ranks} devices"
        raise SingerVerifyError(f"{what}; expected a multiple of {num_ranks}.")
