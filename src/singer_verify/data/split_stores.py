"""The stores of a corpus' splits: opened or computed, compared, and what they hold recorded."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from singer_verify.audio.content import NO_CONTENT
from singer_verify.corpora.corpus import Corpus
from singer_verify.corpora.folds import ALL_SPLIT
from singer_verify.corpora.subsets import choose_utterances
from singer_verify.errors import SingerVerifyError
from singer_verify.features.feature import Feature
from singer_verify.features.raw_waveform import RawWaveform
from singer_verify.features.voice import unwrap_feature
from singer_verify.store.extraction import load_or_compute_store
from singer_verify.store.packed import PackedStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitStores:
    """Open the store of a split of a corpus, and compute it on first use.

    Attributes:
        corpus: the corpus with its splits.
        root: folder that holds all stores.
        dtype: float16 or float32, the dtype of frames on disk; raw samples have a dtype of their own.
        num_workers: number of extraction processes.
    """

    corpus: Corpus
    root: Path
    dtype: str
    num_workers: int

    def open_split(self, split: str, feature: Feature) -> PackedStore:
        """Open the store of one split for one feature, computing it if needed.

        Raises:
            SingerVerifyError: see `load_or_compute_store`.
        """
        innermost = unwrap_feature(feature)
        dtype = innermost.dtype if isinstance(innermost, RawWaveform) else self.dtype
        if self.corpus.whole is None:
            return load_or_compute_store(self.corpus, split, feature, self.root, dtype, self.num_workers)
        stored = split if split in self.corpus.whole.splits else ALL_SPLIT
        store = load_or_compute_store(self.corpus.whole, stored, feature, self.root, dtype, self.num_workers)
        return store.select({utterance.path for utterance in self.corpus.splits[split].utterances})

    def log_contents(self) -> None:
        """Log a summary of the corpus, and a note if it comes with precomputed features."""
        log.info(self.corpus.format_summary())
        if self.corpus.has_precomputed_features:
            log.info(
                "%s contains precomputed features: its feat_params.yaml is the recipe, the features group is ignored.",
                self.corpus.root,
            )


def limit_minutes(
    training: PackedStore,
    minutes: Float[np.ndarray, " utterances"],
    corpus: Corpus,
    max_minutes: float,
    seed: int,
) -> PackedStore:
    """Leave out utterances of a training split that are more than so many minutes of their singer.

    Args:
        training: store of the training split.
        minutes: duration of each of its utterances.
        corpus: the corpus.
        max_minutes: largest number of minutes of each singer.
        seed: seed of the order in which utterances are taken, see `corpora.subsets`.
    """
    singers = [training.singers[row] for row in training.singer_index]
    chosen = choose_utterances(corpus, singers, training.paths.tolist(), minutes, max_minutes, seed)
    kept = training.select(chosen)
    is_kept = [path in chosen for path in training.paths.tolist()]
    of_singer = np.bincount(kept.singer_index, minutes[is_kept])
    log.info(
        "data.max_minutes=%g: learning from %d of %d utterances and %.1f of %.1f minutes, %.2f to %.2f of each singer.",
        *(max_minutes, len(kept.paths), len(singers), of_singer.sum(), minutes.sum()),
        *(of_singer.min(), of_singer.max()),
    )
    return kept


def require_disjoint_recordings(root: Path, training: PackedStore, validation: PackedStore) -> None:
    """Check that no recording is both in the training split and in one it is evaluated on, whoever is said to sing.

    Recordings are compared by what they sound like, see `audio.content`: the same in another format is found as well.

    Args:
        root: folder of the corpus.
        training: store of the training split.
        validation: store of the validation or test split.

    Raises:
        SingerVerifyError: a recording is in both splits; the message names one pair of files.
    """
    train_paths = dict(zip(training.contents.tolist(), training.paths, strict=True))
    train_paths.pop(NO_CONTENT, None)
    pairs = [
        (train_paths[content], path)
        for content, path in zip(validation.contents.tolist(), validation.paths, strict=True)
        if content in train_paths
    ]
    if pairs:
        first, second = pairs[0]
        raise SingerVerifyError(
            f"{root / first} and {root / second}: the same recording in both splits ({len(pairs)} such pairs in all); "
            f"a model must be evaluated on unseen recordings, so delete one file of each pair."
        )


def collect_recording_ids(stores: Mapping[str, PackedStore]) -> dict[str, Int[Tensor, " utterances"]]:
    """Return the identities of the usable recordings, see `audio.content`, by split, each once."""
    distinct = {split: list(dict.fromkeys(store.contents.tolist())) for split, store in stores.items()}
    return {split: torch.tensor(contents, dtype=torch.int64) for split, contents in distinct.items()}
