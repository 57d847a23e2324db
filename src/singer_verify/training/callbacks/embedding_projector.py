"""Embeddings of the validation utterances for TensorBoard's projector."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.plugins.projector import metadata
from torch.utils.tensorboard import SummaryWriter

from singer_verify.evaluation.embedding_map import sample_utterances
from singer_verify.evaluation.results import EvaluatedUtterances
from singer_verify.training.callbacks.metric_history import find_history
from singer_verify.training.module import Verifier

log = logging.getLogger(__name__)

# Below a run folder: TensorBoard looks for a plugin's files here, so they do not appear as a separate run.
PROJECTOR_FOLDER = Path(metadata.PLUGINS_DIR) / metadata.PLUGIN_ASSETS_NAME
MAX_PROJECTOR_UTTERANCES = 10_000  # with more, the page is slow and writing takes seconds
SAMPLING_SEED = 0


class ProjectorCallback(pl.Callback):
    """Write the embeddings of the best validation so far for TensorBoard; a full disk does not stop the run."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.history = find_history(trainer, "callbacks.projector")

    @rank_zero_only
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers):
            return
        assert isinstance(pl_module, Verifier)
        assert pl_module.validation_set is not None
        assert pl_module.validation_embeddings is not None
        is_trained = any(True for _ in pl_module.encoder.parameters())
        if is_trained and self.history.best is not self.history.figures[-1]:
            return
        validation_set = pl_module.validation_set
        utterances = EvaluatedUtterances(
            validation_set.paths,
            validation_set.singers,
            validation_set.singer_index,
            validation_set.labels,
            pl_module.validation_embeddings.float().cpu().numpy(),
        )
        try:
            write_projector_files(Path(trainer.default_root_dir), utterances)
        except OSError as error:
            log.warning("TensorBoard's projector will not show this model: %s.", error)


def write_projector_files(run: Path, utterances: EvaluatedUtterances) -> None:
    """Write embeddings and their labels where the projector finds them, in place of those written before.

    At most 10 000 utterances are shown, drawn with a fixed seed.

    Args:
        run: the run folder.
        utterances: the validation split as the best model embeds it.

    Raises:
        OSError: the folder cannot be written.
    """
    chosen = sample_utterances(len(utterances.paths), SAMPLING_SEED, MAX_PROJECTOR_UTTERANCES)
    singers = np.array(utterances.singers, object)[utterances.singer_index]
    columns = {"singer": singers, **utterances.labels, "utterance": utterances.paths}
    rows = [[_format_field(str(values[index])) for values in columns.values()] for index in chosen]
    final, partial = run / PROJECTOR_FOLDER, run / f"{PROJECTOR_FOLDER}.part"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with SummaryWriter(str(partial)) as writer:
            writer.add_embedding(utterances.embeddings[chosen], metadata=rows, metadata_header=list(columns))
        for events in partial.glob("events.out.tfevents.*"):
            events.unlink()  # empty; they would turn this folder into a run
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _format_field(text: str) -> str:
    """Return text that fits a field of a tab-separated UTF-8 file."""
    return " ".join(text.encode("utf-8", "replace").decode().split()) or "unknown"
