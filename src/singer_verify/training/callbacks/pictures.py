"""Pictures of a training for TensorBoard: a batch's input frames, and the similarity of validation singers."""

import numpy as np
import pytorch_lightning as pl
import yaml
from jaxtyping import Float
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from singer_verify.data.batches import SingerBatch
from singer_verify.plotting import plot_similarity
from singer_verify.training.loggers import RunTensorBoardLogger
from singer_verify.training.module import Verifier

NUM_SHOWN_SINGERS, NUM_SHOWN_UTTERANCES = 4, 4


class TrainingFigures(pl.Callback):
    """Sends the settings, the first batch's frames, and each validation's singer similarities, to TensorBoard."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step and isinstance(trainer.logger, RunTensorBoardLogger):
            trainer.logger.drop_events_from(trainer.global_step)
        assert isinstance(pl_module, Verifier)
        settings = yaml.safe_dump(pl_module.settings, sort_keys=False, allow_unicode=True)
        indented = "\n".join(f"    {line}" for line in settings.splitlines())
        _get_writer(trainer).add_text("config", indented, trainer.global_step)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: SingerBatch, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            figure = plot_frames(batch.features[:NUM_SHOWN_SINGERS, :NUM_SHOWN_UTTERANCES].float().cpu().numpy())
            _get_writer(trainer).add_figure("batch/frames", figure, trainer.global_step)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Verifier)
        assert pl_module.validation_set is not None
        assert pl_module.validation_embeddings is not None
        singers = pl_module.validation_set.singers
        matrix = compute_singer_similarities(
            pl_module.validation_embeddings.cpu().numpy(), pl_module.validation_set.singer_index
        )
        _get_writer(trainer).add_figure("val/similarity", plot_similarity(matrix, singers), trainer.global_step)


def _get_writer(trainer: pl.Trainer) -> SummaryWriter:
    assert trainer.logger is not None
    writer: SummaryWriter = trainer.logger.experiment  # type: ignore[attr-defined]
    return writer


def compute_singer_similarities(
    embeddings: Float[np.ndarray, "utterances embedding"], singer_index: np.ndarray
) -> Float[np.ndarray, "singers singers"]:
    """Mean cosine between the utterances of two singers; on the diagonal, between different utterances of one."""
    members = np.eye(int(singer_index.max()) + 1)[singer_index]
    sums = members.T @ (embeddings @ embeddings.T) @ members
    counts = members.sum(axis=0)
    pairs = np.outer(counts, counts)
    np.fill_diagonal(sums, np.diag(sums) - counts)
    np.fill_diagonal(pairs, np.maximum(counts * (counts - 1), 1))
    similarities: np.ndarray = sums / pairs
    return similarities


def plot_frames(features: Float[np.ndarray, "singers utterances frames bins"]) -> Figure:
    """Input frames as the network sees them: a row per singer, a column per utterance."""
    rows, columns = features.shape[:2]
    figure = Figure(figsize=(2.6 * columns, 1.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    image = None
    for row in range(rows):
        for column in range(columns):
            image = axes[row, column].imshow(
                features[row, column].T, origin="lower", aspect="auto", vmin=features.min(), vmax=features.max()
            )
        axes[row, 0].set_ylabel(f"singer {row + 1}\nbin")
    for column in range(columns):
        axes[-1, column].set_xlabel("frame")
    if image is not None:
        figure.colorbar(image, ax=axes, shrink=0.6)
    return figure
