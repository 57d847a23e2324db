"""Pictures of a training for its loggers: a batch's input frames, and the similarity of validation singers."""

import numpy as np
import pytorch_lightning as pl
from jaxtyping import Float
from matplotlib.figure import Figure

from singer_verify.data.batches import SingerBatch
from singer_verify.plotting import plot_similarity
from singer_verify.training.loggers import log_figure, log_settings
from singer_verify.training.module import Verifier

NUM_SHOWN_SINGERS, NUM_SHOWN_UTTERANCES = 4, 4


class TrainingFigures(pl.Callback):
    """Send the settings, the first batch's frames, and each validation's singer similarities, to the loggers."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Verifier)
        log_settings(trainer, pl_module.settings)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: SingerBatch, batch_idx: int
    ) -> None:
        if batch_idx == 0 and trainer.loggers:
            shown = batch.features[:NUM_SHOWN_SINGERS, :NUM_SHOWN_UTTERANCES].float().cpu().numpy()
            names = trainer.datamodule.train_singers  # type: ignore[attr-defined]
            figure = plot_frames(shown, [names[singer] for singer in batch.singers[:NUM_SHOWN_SINGERS].tolist()])
            log_figure(trainer, "batch/frames", figure)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Verifier)
        assert pl_module.validation_set is not None
        assert pl_module.validation_embeddings is not None
        if not trainer.loggers:
            return
        singers = pl_module.validation_set.singers
        matrix = compute_singer_similarities(
            pl_module.validation_embeddings.cpu().numpy(), pl_module.validation_set.singer_index
        )
        log_figure(trainer, "val/similarity", plot_similarity(matrix, singers))


def compute_singer_similarities(
    embeddings: Float[np.ndarray, "utterances embedding"], singer_index: np.ndarray
) -> Float[np.ndarray, "singers singers"]:
    """Compute the mean cosine between the utterances of two singers; on the diagonal, between utterances of one."""
    members = np.eye(int(singer_index.max()) + 1)[singer_index]
    sums = members.T @ (embeddings @ embeddings.T) @ members
    counts = members.sum(axis=0)
    pairs = np.outer(counts, counts)
    np.fill_diagonal(sums, np.diag(sums) - counts)
    np.fill_diagonal(pairs, np.maximum(counts * (counts - 1), 1))
    similarities: np.ndarray = sums / pairs
    return similarities


def plot_frames(features: Float[np.ndarray, "singers utterances frames bins"], singers: list[str]) -> Figure:
    """Draw input frames as the network sees them: a row per singer, labelled by name; a column per utterance."""
    rows, columns = features.shape[:2]
    figure = Figure(figsize=(2.6 * columns, 1.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    image = None
    for row in range(rows):
        for column in range(columns):
            image = axes[row, column].imshow(
                features[row, column].T, origin="lower", aspect="auto", vmin=features.min(), vmax=features.max()
            )
        axes[row, 0].set_ylabel(f"{singers[row]}\nbin")
    for column in range(columns):
        axes[-1, column].set_xlabel("frame")
    if image is not None:
        figure.colorbar(image, ax=axes, shrink=0.6)
    return figure
