"""Recordings embedded for a command, with progress and with a word on those that cannot be used."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from singer_verify.entry import LOGGER

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it do
    import numpy as np

    from singer_verify.evaluation.judgement import JudgedUtterances
    from singer_verify.recognition import Embedder


def embed_files(embedder: "Embedder", files: list[Path]) -> tuple[list[Path], "np.ndarray"]:
    """Embeddings of the files that can be used; the others are named and counted."""
    import numpy as np
    from rich.progress import track

    from singer_verify.errors import SingerVerifyError, UtteranceError

    kept, embeddings = [], []
    found = embedder.embed_many(files)
    for file, embedded in track(
        zip(files, (each for _, each in found), strict=True),
        "Embedding",
        total=len(files),
        console=Console(stderr=True),
    ):
        if isinstance(embedded, UtteranceError):
            LOGGER.warning("Skipped: %s", embedded)
        else:
            embeddings.append(embedded.embedding)
            kept.append(file)
    if not kept:
        raise SingerVerifyError(f"none of {len(files)} files can be used; the reasons are above.")
    if len(kept) < len(files):
        LOGGER.warning("%d of %d files skipped.", len(files) - len(kept), len(files))
    return kept, np.stack(embeddings)


def judged_utterances(embedder: "Embedder", corpus: Path, split: str) -> "JudgedUtterances":
    """The utterances of a split that can be used, embedded, with who sings them and what is known of them."""
    import numpy as np

    from singer_verify.corpora.labels import labels_of
    from singer_verify.evaluation.judgement import JudgedUtterances

    singer_of = singers_of_split(corpus, split)
    files, embeddings = embed_files(embedder, list(singer_of))
    singers, singer_index = np.unique([singer_of[file] for file in files], return_inverse=True)
    paths = [file.relative_to(corpus).as_posix() for file in files]
    return JudgedUtterances(
        np.array(paths, object), tuple(singers.tolist()), singer_index, labels_of(paths, corpus), embeddings
    )


def singers_of_split(corpus: Path, split: str) -> dict[Path, str]:
    """The singer of each utterance of a split, by its file."""
    from singer_verify.corpora.folder import read_corpus

    utterances = read_corpus(corpus, splits=(split,), required=(split,)).splits[split].utterances
    return {corpus / utterance.path: utterance.singer for utterance in utterances}
