"""Trial lists as files, in the formats of `trial_formats`.

Pandas reads the columns of a file; only where something is wrong, its lines are searched for the first that is
malformed.
"""

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd

from singer_verify.errors import SingerVerifyError, require_one_of
from singer_verify.evaluation.trial_formats import (
    COLUMNS,
    CSV,
    CSV_OUTCOMES,
    FORMATS,
    IS_TARGET,
    LEFT,
    LINE_FORMATS,
    RIGHT,
    LineFormat,
    is_sony_header,
    numbered_lines,
    recognised_format,
    shortened,
)
from singer_verify.evaluation.trial_list import TrialList, require_both_kinds

FORMAT_OF_SUFFIX = {".csv": "csv", ".txt": "voxceleb", ".trials": "kaldi", "": "kaldi"}  # Kaldi's are named `trials`
OVERFLOW = "overflow"  # takes a field too many, which pandas would otherwise drop without a word


def read_trials(path: Path) -> TrialList:
    """A list of trials in any of the formats; which one is seen from its content. Blank lines are passed over.

    Raises:
        SingerVerifyError: no such file, no known format, a malformed line (with its number and content), no trial, or
            trials of one kind only.
    """
    name = recognised_format(path)
    trials = _read_csv(path) if name == CSV else _read_lines(path, LINE_FORMATS[name])
    require_both_kinds(trials, str(path))
    return trials


def format_by_name(path: Path) -> str:
    """The format that a file's suffix means.

    Raises:
        SingerVerifyError: it means none.
    """
    if path.suffix not in FORMAT_OF_SUFFIX:
        known = ", ".join(f"{suffix or 'no suffix'} ({name})" for suffix, name in FORMAT_OF_SUFFIX.items())
        raise SingerVerifyError(
            f"{path}: the suffix {path.suffix} stands for no format of trials; expected {known}, or a format "
            f"({', '.join(FORMATS)}) named with --format."
        )
    return FORMAT_OF_SUFFIX[path.suffix]


def write_trials(path: Path, trials: TrialList, name: str) -> None:
    """Write a whole list or none of it. Labels go into `csv` alone; the other formats have no place for them.

    Raises:
        SingerVerifyError: an unknown format, no such folder, or a path that the format cannot hold.
    """
    require_one_of(FORMATS, format=name)
    if not path.resolve().parent.is_dir():
        raise SingerVerifyError(f"{path}: no such folder {path.resolve().parent}; make it first.")
    table = pd.DataFrame({LEFT: trials.left, RIGHT: trials.right, IS_TARGET: trials.is_target.astype(int)})
    part = path.with_name(f"{path.name}.part")
    if name == CSV:
        labelled = table if trials.labels is None else table.join(trials.labels.reset_index(drop=True))
        labelled.to_csv(part, index=False, lineterminator="\n")
    else:
        form = LINE_FORMATS[name]
        _require_holds(trials, name, form.forbidden)
        words = np.array([word for word, _ in sorted(form.outcomes.items(), key=lambda item: item[1])], object)
        table[IS_TARGET] = words[table[IS_TARGET]]
        ordered = table[list(form.columns)]
        ordered.to_csv(part, sep=form.separator, index=False, header=False, quoting=csv.QUOTE_NONE, lineterminator="\n")
    os.replace(part, path)


def _read_csv(path: Path) -> TrialList:
    try:
        table = pd.read_csv(path, dtype=object, na_filter=False, encoding="utf-8-sig", index_col=False)
    except ValueError as error:  # a line with too many fields, among others
        raise _malformed_csv(path) or SingerVerifyError(f"{path}: cannot be read as a table ({error}).") from error
    if lacking := [name for name in COLUMNS if name not in table]:
        raise SingerVerifyError(
            f"{path}: has no column {lacking[0]} (columns found: {', '.join(map(str, table.columns))}); expected "
            f"{', '.join(COLUMNS)}, where 1 is one singer, and any labels after them."
        )
    if not _is_well_formed(table, CSV_OUTCOMES):
        raise _malformed_csv(path) or SingerVerifyError(f"{path}: a line lacks a path, or its is_target.")
    labels = table.drop(columns=list(COLUMNS))
    return _trial_list(table, CSV_OUTCOMES, labels if len(labels.columns) else None)


def _read_lines(path: Path, form: LineFormat) -> TrialList:
    first_number, first = next(numbered_lines(path))
    try:
        table = pd.read_csv(
            path,
            sep="," if form.separator == "," else r"\s+",  # the latter is blanks and tabs to its C parser
            header=None,
            names=[*form.columns, OVERFLOW],
            skiprows=first_number if is_sony_header(first) else 0,
            dtype=object,
            na_filter=False,
            quoting=csv.QUOTE_NONE,
            encoding="utf-8-sig",
            index_col=False,
        )
    except ValueError as error:
        raise _malformed_line(path, form) or SingerVerifyError(f"{path}: cannot be read ({error}).") from error
    if not _is_well_formed(table, form.outcomes) or table[OVERFLOW].ne("").any():
        raise _malformed_line(path, form) or SingerVerifyError(f"{path}: a line does not hold two paths and a label.")
    return _trial_list(table, form.outcomes, None)


def _is_well_formed(table: pd.DataFrame, outcomes: dict[str, bool]) -> bool:
    has_paths = all(bool(table[side].ne("").all()) for side in (LEFT, RIGHT))
    return has_paths and bool(table[IS_TARGET].isin(list(outcomes)).all())


def _trial_list(table: pd.DataFrame, outcomes: dict[str, bool], labels: pd.DataFrame | None) -> TrialList:
    is_target = table[IS_TARGET].map(outcomes).to_numpy(bool)
    return TrialList(table[LEFT].to_numpy(object), table[RIGHT].to_numpy(object), is_target, labels)


def _malformed_line(path: Path, form: LineFormat) -> SingerVerifyError | None:
    """What to say of the first line that cannot be understood; None where all can."""
    for position, (number, line) in enumerate(numbered_lines(path)):
        if not form.is_well_formed(line) and not (position == 0 and is_sony_header(line)):
            return SingerVerifyError(
                f"{path}, line {number}: {shortened(line)!r}; expected two paths and {' or '.join(form.outcomes)}, "
                f"like {form.example!r}."
            )
    return None


def _malformed_csv(path: Path) -> SingerVerifyError | None:
    """The same of a table."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        header = next(row for row in rows if row)
        for row in rows:
            fields = dict(zip(header, row, strict=False))
            is_whole = len(row) == len(header) and fields[LEFT] and fields[RIGHT]
            if row and not (is_whole and fields[IS_TARGET] in CSV_OUTCOMES):
                return SingerVerifyError(
                    f"{path}, line {rows.line_num}: {shortened(','.join(row))!r}; expected {len(header)} fields as in "
                    f"the header, two of them paths, and is_target 1 or 0."
                )
    return None


def _require_holds(trials: TrialList, name: str, forbidden: str) -> None:
    for path in pd.unique(np.concatenate([trials.left, trials.right])):
        if any(character in path for character in forbidden):
            what = "comma" if "," in forbidden else "blank"
            raise SingerVerifyError(
                f"{path!r}: the format {name} cannot hold a path with a {what} or a line break; write the list as csv, "
                f"or rename the file."
            )
