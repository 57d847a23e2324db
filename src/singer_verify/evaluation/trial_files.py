"""Trial lists as files, in the formats of `trial_formats`.

Pandas reads the columns of those without header; only where something is wrong, their lines are searched for the first
that is malformed.
"""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from singer_verify.errors import SingerVerifyError, require_one_of
from singer_verify.evaluation.trial_csv import csv_table
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
from singer_verify.whole_files import part_of, require_place

FORMAT_OF_SUFFIX = {".csv": "csv", ".txt": "voxceleb", ".trials": "kaldi", "": "kaldi"}  # Kaldi's are named `trials`
OVERFLOW = "overflow"  # takes a field too many, which pandas would otherwise drop without a word


def read_trials(path: Path) -> TrialList:
    """A list of trials in any of the formats; which one is seen from its content. Blank lines are passed over.

    Raises:
        SingerVerifyError: no such file, no known format, a malformed line (with its number and content), no trial, or
            trials of one kind only.
    """
    name = recognised_format(path)
    trials = _trial_list(csv_table(path), CSV_OUTCOMES) if name == CSV else _read_lines(path, LINE_FORMATS[name])
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
        SingerVerifyError: an unknown format, a path that the format cannot hold, or a file that cannot be written.
    """
    require_one_of(FORMATS, format=name)
    require_place(path)
    _require_holds(trials, name, "" if name == CSV else LINE_FORMATS[name].forbidden)
    table = pd.DataFrame({LEFT: trials.left, RIGHT: trials.right, IS_TARGET: trials.is_target.astype(int)})
    with part_of(path) as part:
        if name == CSV:
            labelled = table if trials.labels is None else table.join(trials.labels.reset_index(drop=True))
            labelled.to_csv(part, index=False, lineterminator="\n")
        else:
            _write_lines(part, table, LINE_FORMATS[name])


def _write_lines(part: Path, table: pd.DataFrame, form: LineFormat) -> None:
    words = np.array([word for word, _ in sorted(form.outcomes.items(), key=lambda item: item[1])], object)
    ordered = table.assign(**{IS_TARGET: words[table[IS_TARGET]]})[list(form.columns)]
    ordered.to_csv(part, sep=form.separator, index=False, header=False, quoting=csv.QUOTE_NONE, lineterminator="\n")


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
    return _trial_list(table[list(form.columns)], form.outcomes)


def _is_well_formed(table: pd.DataFrame, outcomes: dict[str, bool]) -> bool:
    has_paths = all(bool(table[side].ne("").all()) for side in (LEFT, RIGHT))
    return has_paths and bool(table[IS_TARGET].isin(list(outcomes)).all())


def _trial_list(table: pd.DataFrame, outcomes: dict[str, bool]) -> TrialList:
    """Columns that are not of a trial itself are its labels."""
    is_target = table[IS_TARGET].map(outcomes).to_numpy(bool)
    labels = table.drop(columns=list(COLUMNS))
    known = labels if len(labels.columns) else None
    return TrialList(table[LEFT].to_numpy(object), table[RIGHT].to_numpy(object), is_target, known)


def _malformed_line(path: Path, form: LineFormat) -> SingerVerifyError | None:
    """What to say of the first line that cannot be understood; None where all can."""
    for position, (number, line) in enumerate(numbered_lines(path)):
        if not form.is_well_formed(line) and not (position == 0 and is_sony_header(line)):
            return SingerVerifyError(
                f"{path}, line {number}: {shortened(line)!r}; expected two paths and {' or '.join(form.outcomes)}, "
                f"like {form.example!r}."
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
        if not _is_text(path):
            raise SingerVerifyError(f"{path}: a list cannot hold a path that is no text in UTF-8; rename the file.")


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
