"""Several corpora as one, whose singers are named `corpus/singer`."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
from jaxtyping import Int

from singer_verify.corpora.folder import Corpus, Split, Utterance, read_corpus
from singer_verify.errors import SingerVerifyError

SEPARATOR = "/"  # in no folder's name


def read_corpora(roots: list[Path]) -> Corpus:
    """One corpus of all; its root is the folder that holds them all, and its utterances' paths begin there.

    Raises:
        SingerVerifyError: none given, two of one folder name, several of which one holds ready features, or one that
            cannot be read.
    """
    if not roots:
        raise SingerVerifyError("data.root=[]: expected the folder of a corpus, or a list of them.")
    if len(roots) == 1:
        return read_corpus(roots[0])
    places = [Path(os.path.abspath(root)) for root in roots]
    if twice := [name for name, count in Counter(place.name for place in places).items() if count > 1]:
        raise SingerVerifyError(
            f"data.root: two corpora are in folders named {twice[0]}; their singers are named after the folder, so "
            f"give each its own name."
        )
    corpora = {place.name: read_corpus(place) for place in sorted(places, key=lambda place: place.name + SEPARATOR)}
    if ready := [name for name, corpus in corpora.items() if corpus.is_ready]:
        raise SingerVerifyError(f"data.root: {ready[0]} holds ready features; only corpora of audio train together.")
    root = Path(os.path.commonpath([place.parent for place in places]))
    names = list(dict.fromkeys(name for corpus in corpora.values() for name in corpus.splits))
    return Corpus(root, {name: _joined(name, root, corpora) for name in names}, tuple(places))


def corpus_of_singer(singers: tuple[str, ...]) -> Int[np.ndarray, " singers"]:
    """The corpus of each singer, numbered from 0; all 0 where there is one corpus."""
    names = [singer.rpartition(SEPARATOR)[0] for singer in singers]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _joined(name: str, root: Path, corpora: dict[str, Corpus]) -> Split:
    parts = {corpus_name: corpus for corpus_name, corpus in corpora.items() if name in corpus.splits}
    utterances = tuple(
        Utterance((corpus.root / utterance.path).relative_to(root).as_posix(), f"{corpus_name}/{utterance.singer}")
        for corpus_name, corpus in parts.items()
        for utterance in corpus.splits[name].utterances
    )
    return Split(name, utterances, sum(corpus.splits[name].num_ignored for corpus in parts.values()))
