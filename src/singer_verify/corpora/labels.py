"""Labels of utterances besides the singer: the table `corpus.csv` at a corpus' root."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from singer_verify.errors import SingerVerifyError

CORPUS_TABLE_NAME = "corpus.csv"
UTTERANCE_COLUMN = "utterance"
# Columns of corpus.csv with an utterance's location and audio properties; all others are labels.
NON_LABEL_COLUMNS = ("singer", "split", "seconds", "sample_rate", "channels")


def read_labels(root: Path) -> pd.DataFrame:
    """Read the labels of a corpus' utterances: one string column per label, empty where unknown.

    Args:
        root: root folder of the corpus; without a `corpus.csv` the table is empty.

    Returns:
        A table indexed by the utterance's path relative to the root, as in `corpus.Utterance.path`.

    Raises:
        SingerVerifyError: the file is not such a table, or lists an utterance twice.
    """
    table = read_corpus_table(root)
    return table.drop(columns=[name for name in NON_LABEL_COLUMNS if name in table.columns])


def read_corpus_table(root: Path) -> pd.DataFrame:
    """Read all columns of `corpus.csv` as strings, indexed by utterance; an empty table if the file does not exist.

    Raises:
        SingerVerifyError: the file is not such a table, or lists an utterance twice.
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
            f"{path}: has no column {UTTERANCE_COLUMN} (columns found: {', '.join(table.columns)}); expected "
            f"one with the path of each utterance relative to {root}."
        )
    if repeated := table[UTTERANCE_COLUMN][table[UTTERANCE_COLUMN].duplicated()].tolist():
        raise SingerVerifyError(f"{path}: lists {repeated[0]} twice; expected one line per utterance.")
    return table.set_index(UTTERANCE_COLUMN)


def read_utterance_labels(paths: Sequence[str], root: Path, part_roots: Sequence[Path] = ()) -> dict[str, np.ndarray]:
    """Read the labels of utterances of one or several corpora.

    Args:
        paths: paths of the utterances, relative to the root.
        root: root folder of the corpus.
        part_roots: root folder of each of several corpora, below `root`.

    Returns:
        For each label its value for every utterance, `""` where unknown.

    Raises:
        SingerVerifyError: see `read_labels`.
    """
    tables = []
    for corpus in part_roots or [root]:
        table, prefix = read_labels(corpus), os.path.relpath(corpus, root)
        tables.append(table.set_axis([PurePosixPath(prefix, path).as_posix() for path in table.index]))
    labels = pd.concat(tables).reindex(list(paths)).fillna("")
    return {str(name): labels[name].to_numpy(object) for name in labels.columns}
