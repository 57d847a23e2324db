"""Recordings embedded for a command, with progress and with a word on those that cannot be used."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from singer_verify.entry import LOGGER

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it do
    import numpy as np

    from singer_verify.recognition import Embedder


def embed_files(embedder: "Embedder", files: list[Path]) -> tuple[list[Path], "np.ndarray"]:
    """Embeddings of the files that can be used; the others are named and counted."""
    import numpy as np
    from rich.progress import track

    from singer_verify.errors import SingerVerifyError, UtteranceError

    kept, embeddings = [], []
    for file in track(files, "Embedding", console=Console(stderr=True)):
        try:
            embeddings.append(embedder.embed_file(file))
            kept.append(file)
        except UtteranceError as error:
            LOGGER.warning("Skipped: %s", error)
    if not kept:
        raise SingerVerifyError(f"none of {len(files)} files can be used; the reasons are above.")
    if len(kept) < len(files):
        LOGGER.warning("%d of %d files skipped.", len(files) - len(kept), len(files))
    return kept, np.stack(embeddings)
