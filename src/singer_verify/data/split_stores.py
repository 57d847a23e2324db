"""The stores of a corpus' splits, computed where they are not there yet."""

import logging
from dataclasses import dataclass
from pathlib import Path

from singer_verify.corpora.folder import Corpus
from singer_verify.features import Feature
from singer_verify.features.samples import Samples
from singer_verify.store.extraction import store_of
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

    def of(self, split: str, feature: Feature) -> PackedStore:
        """
        Raises:
            SingerVerifyError: see `store_of`.
        """
        dtype = feature.dtype if isinstance(feature, Samples) else self.dtype
        return store_of(self.corpus, split, feature, self.root, dtype, self.num_workers)

    def log_contents(self) -> None:
        """Say what the corpus holds, and whose recipe it is."""
        log.info(self.corpus.summary())
        if self.corpus.is_ready:
            log.info(
                "%s holds ready features: its feat_params.yaml is the recipe, the features group is not used.",
                self.corpus.root,
            )
