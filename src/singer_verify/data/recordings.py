"""By what the recordings of a corpus' splits are known again, for the checkpoints of a training to carry."""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from singer_verify.corpora.identities import identities
from singer_verify.store.packed import PackedStore


def recordings_of(root: Path, stores: Mapping[str, PackedStore]) -> dict[str, Int[Tensor, " utterances"]]:
    """For each split the identities of the recordings that can be used.

    Args:
        root: of the corpus.
        stores: of its splits.
    """
    return {
        split: torch.tensor(identities(root / str(path) for path in store.paths), dtype=torch.int64)
        for split, store in stores.items()
    }
