"""The stores of a corpus' splits, computed where they are not there yet."""

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
    """
    Attributes:
        corpus: whose splits they are.
        root: folder of all stores.
        dtype: float16 or float32, of frames on disk; samples have their own.
        num_workers: processes that compute.
    """

    corpus: Corpus
    root: Path
    dtype: str
    num_workers: int

    def open_split(self, split: str, feature: Feature) -> PackedStore:
        """
        Raises:
            SingerVerifyError: see `load_or_compute_store`.
        """
        dtype = feature.dtype if isinstance(feature, RawWaveform) else self.dtype
        return load_or_compute_store(self.corpus, split, feature, self.root, dtype, self.num_workers)

    def log_contents(self) -> None:
        """Say what the corpus holds, and whose recipe it is."""
        log.info(self.corpus.format_summary())
        if self.corpus.has_precomputed_features:
            log.info(
                "%s holds ready features: its feat_params.yaml is the recipe, the features group is not used.",
                self.corpus.root,
            )


def require_disjoint_recordings(root: Path, training: PackedStore, validation: PackedStore) -> None:
    """Refuse a recording that is in both splits, byte for byte, under whatever singers.

    Checksums of frames find candidates, so that only their files are read; splits that were stored by different recipes
    (samples, and frames) cannot be compared like that.

    Args:
        root: of the corpus.
        training: its training split.
        validation: its validation split.

    Raises:
        SingerVerifyError: naming one such pair.
    """
    if training.recipe != validation.recipe:
        return
    shared = np.intersect1d(training.checksums, validation.checksums)
    heard = {compute_file_sha256(path): path for path in _find_paths_by_checksum(root, training, shared)}
    judged = [(compute_file_sha256(path), path) for path in _find_paths_by_checksum(root, validation, shared)]
    if pairs := [(heard[found], path) for found, path in judged if found in heard]:
        first, second = pairs[0]
        raise SingerVerifyError(
            f"{first} and {second}: the same recording in two splits ({len(pairs)} found in all); a model must be "
            f"judged on what it has not heard, so delete one of each."
        )


def _find_paths_by_checksum(root: Path, store: PackedStore, checksums: np.ndarray) -> list[Path]:
    return [root / str(path) for path in store.paths[np.isin(store.checksums, checksums)]]


def compute_split_recording_ids(root: Path, stores: Mapping[str, PackedStore]) -> dict[str, Int[Tensor, " utterances"]]:
    """For each split the identities of the recordings that can be used.

    Args:
        root: of the corpus.
        stores: of its splits.
    """
    return {
        split: torch.tensor(compute_recording_ids(root / str(path) for path in store.paths), dtype=torch.int64)
        for split, store in stores.items()
    }
