"""What is known of each utterance besides its singer: the table `corpus.csv` at a corpus' root."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from singer_verify.errors import SingerVerifyError

CORPUS_TABLE_NAME = "corpus.csv"
UTTERANCE_COLUMN = "utterance"
# Columns of a corpus.csv that say where an utterance lies and how long it is: all others are labels.
NON_LABEL_COLUMNS = ("singer", "split", "seconds", "sample_rate", "channels")


def read_labels(root: Path) -> pd.DataFrame:
    """The labels of a corpus' utterances: one column of strings per label, empty where a label is unknown.

    Args:
        root: of the corpus; without a `corpus.csv` there the table is empty.

    Returns:
        indexed by the utterance's path relative to the root, as in `corpus.Utterance.path`.

    Raises:
        SingerVerifyError: the file is no such table, or names an utterance twice.
    """
    table = read_corpus_table(root)
    return table.drop(columns=[name for name in NON_LABEL_COLUMNS if name in table.columns])


def read_corpus_table(root: Path) -> pd.DataFrame:
    """All columns of `corpus.csv` as strings, indexed by utterance; empty where there is no such file.

    Raises:
        SingerVerifyError: the file is no such table, or names an utterance twice.
    """
    path = root / CORPUS_TABLE_NAME
    if not path.exists():
        return pd.DataFrame(index=pd.Index([], name=UTTERANCE_COLUMN, dtype=str))
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise SingerVerifyError(f"{path}: cannot be read as a table ({error}); prepare the corpus again.") from error
    if UTTERANCE_COLUMN not in table.columns:
        raise SingerVerifyError(
            f"{path}: has no column {UTTERANCE_COLUMN} (columns found: {', '.join(table.columns)}); expected the path of each "
            f"utterance in it, relative to {root}."
        )
    if repeated := table[UTTERANCE_COLUMN][table[UTTERANCE_COLUMN].duplicated()].tolist():
        raise SingerVerifyError(f"{path}: names {repeated[0]} twice; leave one line per utterance.")
    return table.set_index(UTTERANCE_COLUMN)


def read_utterance_labels(paths: Sequence[str], root: Path, parts: Sequence[Path] = ()) -> dict[str, np.ndarray]:
    """What is known of utterances of one corpus, or of several.

    Args:
        paths: of the utterances, relative to the root.
        root: of the corpus.
        parts: of several corpora the root of each; they lie in the folder `root`.

    Returns:
        for each label its value for every utterance, `""` where it is unknown.

    Raises:
        SingerVerifyError: see `read_labels`.
    """
    tables = []
    for corpus in parts or [root]:
        table, below = read_labels(corpus), os.path.relpath(corpus, root)
        tables.append(table.set_axis([PurePosixPath(below, path).as_posix() for path in table.index]))
    known = pd.concat(tables).reindex(list(paths)).fillna("")
    return {str(name): known[name].to_numpy(object) for name in known.columns}
