"""Stores of the splits of a corpus, computed on first use, and checks across splits."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from singer_verify.corpora.corpus import Corpus
from singer_verify.corpora.duplicates import compute_file_sha256, compute_recording_ids
from singer_verify.errors import SingerVerifyError
from singer_verify.features.feature import Feature
from singer_verify.features.samples import RawWaveform
from singer_verify.store.extraction import load_or_compute_store
from singer_verify.store.packed import PackedStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitStores:
    """Opens the store of a split of a corpus, and computes it on first use.

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
        dtype = feature.dtype if isinstance(feature, RawWaveform) else self.dtype
        return load_or_compute_store(self.corpus, split, feature, self.root, dtype, self.num_workers)

    def log_contents(self) -> None:
        """Log a summary of the corpus, and a note if it comes with precomputed features."""
        log.info(self.corpus.format_summary())
        if self.corpus.has_precomputed_features:
            log.info(
                "%s contains precomputed features: its feat_params.yaml is the recipe, the features group is ignored.",
                self.corpus.root,
            )


def require_disjoint_recordings(root: Path, training: PackedStore, validation: PackedStore) -> None:
    """Check that no file is in both the training and the validation split, whichever singer it is filed under.

    Candidates are found by the checksums of their frames, so only those files are read. Splits stored with different
    recipes (raw samples and frames) cannot be compared this way and are not checked.

    Args:
        root: folder of the corpus.
        training: store of the training split.
        validation: store of the validation split.

    Raises:
        SingerVerifyError: a recording is in both splits; the message names one pair of files.
    """
    if training.recipe != validation.recipe:
        return
    shared = np.intersect1d(training.checksums, validation.checksums)
    train_paths = {compute_file_sha256(path): path for path in _find_paths_by_checksum(root, training, shared)}
    val_hashes = [(compute_file_sha256(path), path) for path in _find_paths_by_checksum(root, validation, shared)]
    if pairs := [(train_paths[digest], path) for digest, path in val_hashes if digest in train_paths]:
        first, second = pairs[0]
        raise SingerVerifyError(
            f"{first} and {second}: the same recording in both splits ({len(pairs)} such pairs in all); a model "
            f"must be evaluated on unseen recordings, so delete one file of each pair."
        )


def _find_paths_by_checksum(root: Path, store: PackedStore, checksums: np.ndarray) -> list[Path]:
    return [root / str(path) for path in store.paths[np.isin(store.checksums, checksums)]]


def compute_split_recording_ids(root: Path, stores: Mapping[str, PackedStore]) -> dict[str, Int[Tensor, " utterances"]]:
    """Compute the recording ids of every usable utterance, by split.

    Args:
        root: folder of the corpus.
        stores: store of each split, by name.
    """
    return {
        split: torch.tensor(compute_recording_ids(root / str(path) for path in store.paths), dtype=torch.int64)
        for split, store in stores.items()
    }
