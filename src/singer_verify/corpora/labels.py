"""Labels of utterances besides the singer: the table `corpus.csv` at a corpus' root, or one given to `prepare`.

A table has a row for each utterance, named in the column `utterance` (or another of `OTHER_UTTERANCE_COLUMNS`), or a
row for each singer, named in the column `singer`. Its paths are matched to the utterances as in `corpora.matching`;
what does not match is counted and named.
"""

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from singer_verify.audio import AUDIO_SUFFIXES
from singer_verify.corpora.corpus import read_corpus
from singer_verify.corpora.matching import ABSENT, match_paths, spell_path
from singer_verify.corpora.names import normalise_name
from singer_verify.corpora.tables import read_table
from singer_verify.errors import SingerVerifyError

log = logging.getLogger(__name__)
CORPUS_TABLE_NAME = "corpus.csv"
UTTERANCE_COLUMN, SINGER_COLUMN = "utterance", "singer"
CORPUS_LABEL = "corpus"  # which an utterance has without a table, too
OTHER_UTTERANCE_COLUMNS = ("path", "file", "filename", "file_name", "file_path", "audio", "wav")  # of other programs
# Columns of corpus.csv with an utterance's location and audio properties; all others are labels.
NON_LABEL_COLUMNS = (SINGER_COLUMN, "split", "seconds", "sample_rate", "channels")
NUM_NAMED = 3  # utterances or rows that a message names


def read_label_table(path: Path, option: str = "") -> pd.DataFrame:
    """Read all columns of a table of labels as strings, indexed by utterance or singer; no file is an empty table.

    Args:
        path: path of the table.
        option: what precedes the path in messages, for example "--labels ".

    Raises:
        SingerVerifyError: the file is not such a table, or lists an utterance or singer twice.
    """
    if not option and not path.exists():
        return pd.DataFrame(index=pd.Index([], name=UTTERANCE_COLUMN, dtype=str))
    aliases = dict.fromkeys(OTHER_UTTERANCE_COLUMNS, UTTERANCE_COLUMN)
    table = read_table(path, option, (UTTERANCE_COLUMN, SINGER_COLUMN), aliases)
    key = UTTERANCE_COLUMN if UTTERANCE_COLUMN in table.columns else SINGER_COLUMN
    for column in table.columns.drop(UTTERANCE_COLUMN, errors="ignore"):
        table[column] = [normalise_name(value) for value in table[column]]
    if key == SINGER_COLUMN:
        table[key] = table[key].str.strip()
        table = table.drop_duplicates()
        _warn_of_files(table, f"{option}{path}")
    if repeated := table[key][table[key].duplicated()].tolist():
        advice = "" if key == UTTERANCE_COLUMN else f", or the files in a column {UTTERANCE_COLUMN}"
        raise SingerVerifyError(f"{option}{path}: lists {repeated[0]} twice; expected one line per {key}{advice}.")
    return table.set_index(key)


def _warn_of_files(table: pd.DataFrame, name: str) -> None:
    """Say which label of a table of singers looks like the files of a table of utterances."""
    for column in table.columns if len(table) else []:
        if all(PurePosixPath(value).suffix.lower() in AUDIO_SUFFIXES for value in table[column]):
            log.warning(
                "%s: the column %s names files, but is taken as a label of singers; call it %s if a row is for a file.",
                *(name, column, UTTERANCE_COLUMN),
            )


def read_singer_labels(path: Path, singers: Iterable[str], option: str = "--labels ") -> dict[str, dict[str, str]]:
    """Read the labels of singers, those that are not empty, by singer and name of the label.

    Of a table with a row for each utterance, labels count that have one value in all rows of every singer.

    Args:
        path: path of the table.
        singers: names of the singers.
        option: what precedes the path in messages.

    Raises:
        SingerVerifyError: see `read_label_table`; or a table without singers, labels, or a row for any of these.
    """
    table = read_label_table(path, option)
    if table.index.name == UTTERANCE_COLUMN:
        if SINGER_COLUMN not in table.columns:
            found = ", ".join([UTTERANCE_COLUMN, *map(str, table.columns)])
            raise SingerVerifyError(f"{option}{path}: has no column {SINGER_COLUMN} (columns found: {found}).")
        by_singer = table.replace("", np.nan).groupby(table[SINGER_COLUMN].str.strip())
        is_constant = by_singer.nunique().max() <= 1
        table = by_singer.first().fillna("").loc[:, is_constant]
    labels = table.drop(columns=[column for column in NON_LABEL_COLUMNS if column in table.columns])
    if not len(labels.columns):
        raise SingerVerifyError(f"{option}{path}: has no labels of singers; expected columns such as gender.")
    names = sorted(set(singers))
    rows = _match_singers([str(name) for name in labels.index], names)
    if (rows == ABSENT).all():
        others = f" or any of {len(names) - 1} other singers" if len(names) > 1 else ""
        more = " and so on" if len(labels) > NUM_NAMED else ""
        raise SingerVerifyError(
            f"{option}{path}: has no row for {names[0]}{others}; its singers are "
            f"{', '.join(map(str, labels.index[:NUM_NAMED]))}{more}."
        )
    if missing := [name for name, row in zip(names, rows, strict=True) if row == ABSENT]:
        log.warning(
            "%s: has no row for %d of %d singers, whose labels are unknown (%s%s).",
            *(path, len(missing), len(names), ", ".join(missing[:NUM_NAMED]), ", …" * (len(missing) > NUM_NAMED)),
        )
    return {
        name: {str(label): value.strip() for label, value in labels.iloc[row].items() if value.strip()}
        for name, row in zip(names, rows.tolist(), strict=True)
        if row != ABSENT
    }


def read_utterance_labels(
    paths: Sequence[str],
    root: Path,
    part_roots: Sequence[Path] = (),
    report: bool = True,
    others: Collection[str] = (),
) -> dict[str, np.ndarray]:
    """Read the labels of utterances of one or several corpora.

    Args:
        paths: paths of the utterances, relative to the root.
        root: root folder of the corpus.
        part_roots: root folder of each of several corpora, below `root`.
        report: whether utterances without labels are logged.
        others: paths of further utterances, such as those that cannot be used; their rows are for none of `paths`.

    Returns:
        For each label its value for every utterance, `""` where unknown.

    Raises:
        SingerVerifyError: see `read_label_table`; or a table of which no row matches any utterance of the corpus.
    """
    joined, joined_paths = [], list[str]()
    further = sorted(set(others) - set(paths))
    for corpus in part_roots or [root]:
        table, prefix = read_label_table(corpus / CORPUS_TABLE_NAME), os.path.relpath(corpus, root)
        folder = "" if prefix == "." else f"{prefix}/"
        own = [path for path in paths if path.startswith(folder)]
        below = [path.removeprefix(folder) for path in own]
        rest = [path.removeprefix(folder) for path in further if path.startswith(folder)]
        singers = [_get_singer(path) for path in below]
        labels = join_labels(table, below, singers, corpus / CORPUS_TABLE_NAME, report, rest)
        if below and not labels.is_found.any() and len(table):
            _require_other_utterances(table, corpus, below)
        joined.append(labels.values)
        joined_paths += own
    # not indexed by path: where pandas keeps strings by pyarrow, paths that are no UTF-8 would be refused
    row_by_path = {path: row for row, path in enumerate(joined_paths)}
    values = pd.concat(joined, ignore_index=True).reindex([row_by_path.get(path, ABSENT) for path in paths]).fillna("")
    return {str(name): values[name].to_numpy(object) for name in values.columns}


def read_domains(paths: Sequence[str], root: Path, label: str) -> np.ndarray | None:
    """Read the label that tells the domain of utterances, `""` where unknown; None where nothing tells it.

    The label `corpus` is the name of the corpus's folder where no table has another value.

    Args:
        paths: paths of the utterances, relative to the root.
        root: root folder of the corpus.
        label: name of the label.

    Raises:
        SingerVerifyError: see `read_utterance_labels`.
    """
    labels = read_utterance_labels(paths, root, report=False)
    if label != CORPUS_LABEL:
        return labels.get(label)
    values = labels.get(label, np.full(len(paths), "", object))
    return np.where(values == "", get_corpus_name(root), values)


def get_corpus_name(root: Path) -> str:
    """Return the name of a corpus: that of its folder."""
    return normalise_name(Path(os.path.abspath(root)).name)


def _get_singer(path: str) -> str:
    return normalise_name(PurePosixPath(path).parts[1])


def _require_other_utterances(table: pd.DataFrame, root: Path, paths: list[str]) -> None:
    """Check that a table without a row for any of some utterances at least has rows for others of the corpus."""
    try:
        splits = tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != "."))
        corpus = read_corpus(root, splits=splits, required=())
    except SingerVerifyError:  # another split cannot be used, which is not the matter here
        return
    every = [utterance.path for split in corpus.splits.values() for utterance in split.utterances]
    if not join_labels(table, every, [_get_singer(path) for path in every], root, report=False).is_found.any():
        raise_unmatched_labels(table, root / CORPUS_TABLE_NAME, paths, _get_singer(paths[0]), str(root))


def raise_unmatched_labels(
    table: pd.DataFrame, name: str | Path, paths: Sequence[str], singer: str, folder: str
) -> NoReturn:
    """Raise the error for a table of which no row is for any utterance.

    Args:
        table: the table as `read_label_table` returns it.
        name: its path.
        paths: paths of the utterances.
        singer: a singer of theirs.
        folder: their folder.
    """
    if not len(table):
        raise SingerVerifyError(f"{name}: has no row below its header; expected one for each utterance or singer.")
    what, example = ("singers", singer) if table.index.name == SINGER_COLUMN else ("files", paths[0])
    others = f" and {len(table) - 1} other {what}" if len(table) > 1 else ""
    raise SingerVerifyError(
        f"{name}: lists {table.index[0]}{others}, not in {folder}, whose {what} are {example} and so on; "
        f"expected paths relative to that folder in the column {UTTERANCE_COLUMN}, or its singers "
        f"in the column {SINGER_COLUMN}."
    )


@dataclass(frozen=True)
class JoinedLabels:
    """Rows of a table for utterances.

    Attributes:
        values: a row of labels for each utterance, `""` where unknown.
        is_found: (utterances,), whether the table has a row for each.
        unused: keys of the rows that are for none of the utterances, as listed.
    """

    values: pd.DataFrame
    is_found: Bool[np.ndarray, " utterances"]
    unused: list[str]


def join_labels(
    table: pd.DataFrame,
    paths: Sequence[str],
    singers: Sequence[str],
    name: str | Path,
    report: bool = True,
    others: Sequence[str] = (),
) -> JoinedLabels:
    """Find the row of each utterance in a table of labels.

    Args:
        table: the table as `read_label_table` returns it.
        paths: (utterances,), paths `<split>/<singer>/**/<utterance>`.
        singers: (utterances,), singer of each, in NFC.
        name: path of the table, for messages.
        report: whether utterances without a row, and rows that name another singer, are logged.
        others: paths of further utterances, whose rows are for none of these.

    Raises:
        SingerVerifyError: two rows are for the same utterance.
    """
    listed = [str(key) for key in table.index]
    if table.index.name == SINGER_COLUMN:
        rows = _match_singers(listed, singers)
    else:
        rows = _match_utterances(listed, [*paths, *others], name)[: len(paths)]
    is_found = rows != ABSENT
    labels = table.drop(columns=[column for column in NON_LABEL_COLUMNS if column in table.columns])
    values = pd.DataFrame(
        {
            column: np.where(is_found, labels[column].to_numpy(object)[rows], "") if len(table) else ""
            for column in labels.columns
        },
        index=range(len(paths)),
        dtype=object,
    )
    if report and len(table) and len(paths):
        _report_missing_labels(paths, is_found, len(labels.columns), name)
        if table.index.name != SINGER_COLUMN and SINGER_COLUMN in table.columns:
            _report_other_singers(table[SINGER_COLUMN].to_numpy(object)[rows], paths, singers, is_found, name)
    used = set(rows.tolist())
    return JoinedLabels(values, is_found, [key for row, key in enumerate(listed) if row not in used])


def _match_singers(listed: list[str], singers: Sequence[str]) -> Int[np.ndarray, " utterances"]:
    """Return the row of each utterance's singer; in another case only where no two singers differ by it."""
    row_by_name = {name: row for row, name in enumerate(listed)}
    folded = Counter(name.casefold() for name in listed)
    row_by_folded = {name.casefold(): row for row, name in enumerate(listed) if folded[name.casefold()] == 1}
    return np.array(
        [row_by_name.get(singer, row_by_folded.get(singer.casefold(), ABSENT)) for singer in singers], np.int64
    )


def _match_utterances(listed: list[str], paths: Sequence[str], name: str | Path) -> Int[np.ndarray, " utterances"]:
    """Return the row of each utterance; one with exactly its path goes before all others, then one with its suffix."""
    rows = np.full(len(paths), ABSENT, np.int64)
    places = match_paths(listed, paths)
    is_exact = np.array(
        [
            place != ABSENT and spell_path(key) == spell_path(paths[place])
            for key, place in zip(listed, places, strict=True)
        ],
        bool,
    )
    taken = set(places[is_exact].tolist())
    for row, place in enumerate(places.tolist()):
        if place == ABSENT or (place in taken and not is_exact[row]):
            continue
        before = rows[place]
        has_suffix, had_suffix = (
            listed[other].lower().endswith(PurePosixPath(paths[place]).suffix.lower()) for other in (row, before)
        )
        if before == ABSENT or (has_suffix and not had_suffix):
            rows[place] = row
        elif has_suffix or not had_suffix:
            raise SingerVerifyError(
                f"{name}: lists {paths[place]} twice, as {listed[before]} and as {listed[row]}; expected one line per "
                f"{UTTERANCE_COLUMN}."
            )
    return rows


def _report_missing_labels(paths: Sequence[str], is_found: np.ndarray, num_labels: int, name: str | Path) -> None:
    missing = [path for path, has_row in zip(paths, is_found, strict=True) if not has_row]
    if missing and num_labels:
        log.warning(
            "%s: has no row for %d of %d utterances, whose labels are unknown (%s%s).",
            *(name, len(missing), len(paths), ", ".join(missing[:NUM_NAMED]), ", …" * (len(missing) > NUM_NAMED)),
        )


def _report_other_singers(
    named: np.ndarray, paths: Sequence[str], singers: Sequence[str], is_found: np.ndarray, name: str | Path
) -> None:
    """Log rows whose column `singer` is not the singer of the folder, with or without a corpus before it."""
    others = [
        (path, str(other), singer)
        for path, other, singer, has_row in zip(paths, named, singers, is_found, strict=True)
        if has_row and other.strip() and normalise_name(other.strip()).rpartition("/")[2] != singer.rpartition("/")[2]
    ]
    if others:
        log.warning(
            "%s: names another singer than the folder for %d of %d utterances (%s: %s, in the folder of %s); the "
            "folder decides.",
            *(name, len(others), len(paths), *others[0]),
        )
