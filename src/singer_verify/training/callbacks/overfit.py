"""Training on a single batch, to see whether the network can learn anything."""

import pytorch_lightning as pl

from singer_verify.data.batches import SingerBatch


class OverfitOneBatch(pl.Callback):
    """Replace every training batch by the first one.

    Lightning's `overfit_batches` would limit validation as well, which needs every window of an utterance.
    """

    def __init__(self) -> None:
        self.first: SingerBatch | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: SingerBatch, batch_idx: int
    ) -> None:
        if self.first is None:
            self.first = SingerBatch(*(tensor.clone() for tensor in batch))
        for tensor, first in zip(batch, self.first, strict=True):
            tensor.copy_(first)
