"""The best model's embeddings of the validation split for TensorBoard's projector, with their labels."""

import io
import logging
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from lightning_utilities.core.rank_zero import rank_zero_only

from singer_verify.atomic_files import write_files_atomically
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.embedding_map import sample_utterances
from singer_verify.evaluation.results import EvaluatedUtterances
from singer_verify.training.callbacks.metric_history import find_history
from singer_verify.training.module import Verifier

log = logging.getLogger(__name__)

CONFIG_NAME, EMBEDDINGS_NAME, METADATA_NAME = (
    "projector_config.pbtxt",
    "projector/embeddings.tsv",
    "projector/metadata.tsv",
)
PROJECTOR_CONFIG = f"""embeddings {{
  tensor_name: "validation split, best model"
  tensor_path: "{EMBEDDINGS_NAME}"
  metadata_path: "{METADATA_NAME}"
}}
"""
MAX_PROJECTOR_UTTERANCES = 10_000  # more make a page of the browser's slow, and files of seconds
SAMPLING_SEED = 0


class ProjectorCallback(pl.Callback):
    """Writes the embeddings of every validation that is the best so far; a run without space for them goes on."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.history = find_history(trainer, "callbacks.projector")

    @rank_zero_only
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Verifier)
        assert pl_module.validation_set is not None
        assert pl_module.validation_embeddings is not None
        learns = any(True for _ in pl_module.encoder.parameters())
        if learns and self.history.best is not self.history.figures[-1]:
            return
        known = pl_module.validation_set
        embeddings = pl_module.validation_embeddings.float().cpu().numpy()
        utterances = EvaluatedUtterances(known.paths, known.singers, known.singer_index, known.labels, embeddings)
        try:
            write_projector_files(Path(trainer.default_root_dir), utterances)
        except SingerVerifyError as error:
            log.warning("TensorBoard's projector will not show this model: %s", error)


def write_projector_files(run: Path, utterances: EvaluatedUtterances) -> None:
    """Write what TensorBoard's projector shows of a run; of very many utterances, a draw.

    Args:
        run: its folder.
        utterances: of the validation split, as the best model embeds them.

    Raises:
        SingerVerifyError: the folder cannot be written to.
    """
    chosen = sample_utterances(len(utterances.paths), SAMPLING_SEED, MAX_PROJECTOR_UTTERANCES)
    table = io.StringIO()
    np.savetxt(table, utterances.embeddings[chosen], fmt="%.5f", delimiter="\t")
    contents = {
        EMBEDDINGS_NAME: table.getvalue().encode(),
        METADATA_NAME: _format_projector_metadata(utterances, chosen).encode("utf-8", "replace"),
        CONFIG_NAME: PROJECTOR_CONFIG.encode(),
    }
    write_files_atomically(contents, run, option="hydra.run.dir=")


def _format_projector_metadata(utterances: EvaluatedUtterances, chosen: np.ndarray) -> str:
    """A line of names, then a line per utterance."""
    singers = np.array(utterances.singers, object)[utterances.singer_index]
    columns = {"singer": singers, **utterances.labels, "utterance": utterances.paths}
    rows = zip(*(values[chosen] for values in columns.values()), strict=True)
    return "".join("\t".join(_format_field(str(value)) for value in row) + "\n" for row in [tuple(columns), *rows])


def _format_field(text: str) -> str:
    return " ".join(text.split()) or "unknown"
