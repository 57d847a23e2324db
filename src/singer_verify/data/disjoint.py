"""Whether what a model is judged on is something it has not heard."""

from pathlib import Path

import numpy as np

from singer_verify.corpora.duplicates import content_hash
from singer_verify.errors import SingerVerifyError
from singer_verify.store.packed import PackedStore


def require_other_recordings(root: Path, training: PackedStore, validation: PackedStore) -> None:
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
    heard = {content_hash(path): path for path in _paths(root, training, shared)}
    judged = [(content_hash(path), path) for path in _paths(root, validation, shared)]
    if pairs := [(heard[found], path) for found, path in judged if found in heard]:
        first, second = pairs[0]
        raise SingerVerifyError(
            f"{first} and {second}: the same recording in two splits ({len(pairs)} found in all); a model must be "
            f"judged on what it has not heard, so delete one of each."
        )


def _paths(root: Path, store: PackedStore, checksums: np.ndarray) -> list[Path]:
    return [root / str(path) for path in store.paths[np.isin(store.checksums, checksums)]]
