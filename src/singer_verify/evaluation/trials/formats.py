"""Reading and writing of trial lists in several formats, which are told apart by their first line.

| name | a line | used by |
| --- | --- | --- |
| csv | `a/1.wav,a/2.wav,1,...` below a header `left,right,is_target,...` | this project; other columns are labels |
| voxceleb | `1 a/1.wav a/2.wav` | VoxCeleb and VoxSRC (Nagrani, Chung, Zisserman 2017) |
| kaldi | `a/1.wav a/2.wav target`, or `nontarget` | Kaldi, NIST's evaluations |
| sony | `1,a/1.wav,a/2.wav` | the singer identity lists of Sony CSL (Torres, Lattner, Richard 2023) |

In all of them 1 means the same singer. `sony` has no header; one of `label,path1,path2` is skipped. It has no quoting,
so paths cannot contain commas, nor blanks in `voxceleb` and `kaldi`.

Csv is read row by row, so that the first malformed row can be named. The formats without header are read by pandas;
only if something is wrong are their lines searched for the first malformed one.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from singer_verify.atomic_files import atomic_write, require_output_path
from singer_verify.errors import SingerVerifyError, require_choice
from singer_verify.evaluation.trials.trial_list import TrialList, require_both_kinds

LEFT, RIGHT, IS_TARGET = COLUMNS = ("left", "right", "is_target")
CSV = "csv"
SONY_HEADER = ("label", "path1", "path2")
ONE_OR_ZERO = {"1": True, "0": False}
KALDI_OUTCOMES = {"target": True, "nontarget": False}
BLANKS_PATTERN = "[ \t]+"  # other whitespace may be part of a name
CSV_OUTCOMES = ONE_OR_ZERO | {"true": True, "false": False, "True": True, "False": False}
CsvRow = tuple[int, list[str]]  # line number and fields
FORMAT_BY_SUFFIX = {".csv": "csv", ".txt": "voxceleb", ".trials": "kaldi", "": "kaldi"}  # Kaldi's are named `trials`
OVERFLOW_COLUMN = "overflow"  # takes an extra field, which pandas would otherwise drop silently


@dataclass(frozen=True)
class LineFormat:
    """A format without header, with three fields per line.

    Attributes:
        columns: order of `COLUMNS`.
        separator: separator written between fields.
        pattern: regular expression that separates fields.
        forbidden: characters that a path cannot contain.
        outcomes: words for target and non-target.
        example: a line.
    """

    columns: tuple[str, ...]
    separator: str
    pattern: str
    forbidden: str
    outcomes: dict[str, bool]
    example: str

    def split_fields(self, line: str) -> list[str]:
        """Split a line into its fields, however many there are."""
        return re.split(self.pattern, line.strip("\r\n" if self.separator == "," else " \t\r\n"))

    def is_well_formed(self, line: str) -> bool:
        """Return whether a line consists of two paths and an outcome."""
        fields = self.split_fields(line)
        return len(fields) == len(COLUMNS) and all(fields) and fields[self.columns.index(IS_TARGET)] in self.outcomes


LINE_FORMATS = {
    "voxceleb": LineFormat((IS_TARGET, LEFT, RIGHT), " ", BLANKS_PATTERN, " \t\r\n", ONE_OR_ZERO, "1 a.wav b.wav"),
    "kaldi": LineFormat((LEFT, RIGHT, IS_TARGET), " ", BLANKS_PATTERN, " \t\r\n", KALDI_OUTCOMES, "a.wav b.wav target"),
    "sony": LineFormat((IS_TARGET, LEFT, RIGHT), ",", ",", ",\r\n", ONE_OR_ZERO, "1,a.wav,b.wav"),
}
FORMATS = (CSV, *LINE_FORMATS)


def detect_format(path: Path) -> str:
    """Detect the format of a file by its first line that is not blank.

    Raises:
        SingerVerifyError: it is not text, blank, or in none of the formats.
    """
    number, line = next(read_numbered_lines(path), (0, ""))
    if not number:
        raise SingerVerifyError(f"{path}: holds no trial; expected a line for each.")
    if _is_csv_header(line):
        return CSV
    if is_sony_header(line):
        return "sony"
    for name in ("sony", "kaldi", "voxceleb"):
        if LINE_FORMATS[name].is_well_formed(line):
            return name
    examples = ", ".join(f"{form.example!r} ({name})" for name, form in LINE_FORMATS.items())
    raise SingerVerifyError(
        f"{path}, line {number}: {shorten_line(line)!r} is not in any known format of trials; expected lines like "
        f"{examples}, or a header {','.join(COLUMNS)} ({CSV})."
    )


def read_numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file that are not blank, with their numbers, counted from 1.

    Raises:
        SingerVerifyError: the file cannot be read, or is not text.
    """
    with open_text(path) as file:
        yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())


@contextmanager
def open_text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """Open a text file for reading, with or without a byte order mark.

    Args:
        path: path of the file.
        newline: see `open`.

    Raises:
        SingerVerifyError: the file cannot be read, or is not text.
    """
    try:
        with open(path, encoding="utf-8-sig", newline=newline) as file:
            yield file
    except FileNotFoundError as error:
        raise SingerVerifyError(f"{path}: no such file; expected a list of trials.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SingerVerifyError(f"{path}: cannot be read as UTF-8 text ({error}).") from error


def _is_csv_header(line: str) -> bool:
    try:
        header = next(csv.reader([line]))
    except csv.Error:  # a field that is longer than any path
        return False
    return LEFT in header and RIGHT in header


def is_sony_header(line: str) -> bool:
    """Return whether a line is the header of Sony's lists."""
    return tuple(field.strip().lower() for field in line.split(",")) == SONY_HEADER


def shorten_line(line: str, max_length: int = 120) -> str:
    """Cut a line of a file for a message."""
    text = line.rstrip("\r\n")
    return text if len(text) <= max_length else f"{text[:max_length]}…"


def read_csv_table(path: Path) -> pd.DataFrame:
    """Read the rows of a csv list as strings. Blank lines are skipped.

    Raises:
        SingerVerifyError: a header that lacks a required column or repeats one; a row with more or fewer fields than
            the header, without a path, or with an invalid `is_target`.
    """
    with open_text(path, newline="") as file:
        rows = _read_csv_rows(path, file)
        _, header = next(rows)
        _require_csv_columns(path, header)
        columns: list[list[str]] = [[] for _ in header]
        interned: dict[str, str] = {}  # a path is in many rows, and is kept once
        for row in _validate_csv_rows(path, header, rows):
            for column, field in zip(columns, row, strict=True):
                column.append(interned.setdefault(field, field))
    return pd.DataFrame(dict(zip(header, columns, strict=True)), dtype=object)


def _read_csv_rows(path: Path, file: TextIO) -> Iterator[CsvRow]:
    reader = csv.reader(file)
    try:
        yield from ((reader.line_num, row) for row in reader if len(row) > 1 or (row and row[0].strip()))
    except csv.Error as error:
        raise SingerVerifyError(
            f"{path}, line {reader.line_num}: cannot be read as csv ({error}); expected fields separated by commas, "
            f"quotation marks in pairs."
        ) from error


def _require_csv_columns(path: Path, header: list[str]) -> None:
    if lacking := [name for name in COLUMNS if name not in header]:
        raise SingerVerifyError(
            f"{path}: has no column {lacking[0]} (columns found: {', '.join(header)}); expected {', '.join(COLUMNS)}, "
            f"where 1 means the same singer, and any labels."
        )
    name, count = Counter(header).most_common(1)[0]
    if count > 1:
        raise SingerVerifyError(f"{path}: has {count} columns {name!r}; expected unique names.")


def _validate_csv_rows(path: Path, header: list[str], rows: Iterator[CsvRow]) -> Iterator[list[str]]:
    left, right, is_target = (header.index(name) for name in COLUMNS)
    for number, row in rows:
        if len(row) != len(header) or not row[left] or not row[right] or row[is_target] not in CSV_OUTCOMES:
            raise SingerVerifyError(
                f"{path}, line {number}: {shorten_line(','.join(row))!r}; expected {len(header)} fields as in the "
                f"header, two of them paths, and is_target 1 or 0."
            )
        yield row


def read_trials(path: Path) -> TrialList:
    """Read a list of trials in any of the formats, detected by its content. Blank lines are skipped.

    Raises:
        SingerVerifyError: no such file, an unknown format, a malformed line (with its number and content), no trial, or
            trials of one kind only.
    """
    name = detect_format(path)
    trials = (
        _parse_trial_table(read_csv_table(path), CSV_OUTCOMES) if name == CSV else _read_lines(path, LINE_FORMATS[name])
    )
    require_both_kinds(trials, str(path))
    return trials


def infer_format(path: Path) -> str:
    """Return the format for a file's suffix.

    Raises:
        SingerVerifyError: no format has this suffix.
    """
    if path.suffix not in FORMAT_BY_SUFFIX:
        suffixes = ", ".join(f"{suffix or 'no suffix'} ({name})" for suffix, name in FORMAT_BY_SUFFIX.items())
        raise SingerVerifyError(
            f"{path}: no format of trials has the suffix {path.suffix}; expected {suffixes}, or a format "
            f"({', '.join(FORMATS)}) named with --format."
        )
    return FORMAT_BY_SUFFIX[path.suffix]


def write_trials(path: Path, trials: TrialList, name: str) -> None:
    """Write a list, or nothing on failure. Only `csv` has labels.

    Raises:
        SingerVerifyError: an unknown format, a path that the format cannot represent, or a file that cannot be written.
    """
    require_choice(FORMATS, format=name)
    require_output_path(path)
    _require_writable_paths(trials, name, "" if name == CSV else LINE_FORMATS[name].forbidden)
    table = pd.DataFrame({LEFT: trials.left, RIGHT: trials.right, IS_TARGET: trials.is_target.astype(int)})
    with atomic_write(path) as part:
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
    first_number, first = next(read_numbered_lines(path))
    try:
        table = pd.read_csv(
            path,
            sep="," if form.separator == "," else r"\s+",  # the latter is blanks and tabs to its C parser
            header=None,
            names=[*form.columns, OVERFLOW_COLUMN],
            skiprows=first_number if is_sony_header(first) else 0,
            dtype=object,
            na_filter=False,
            quoting=csv.QUOTE_NONE,
            encoding="utf-8-sig",
            index_col=False,
        )
    except ValueError as error:
        raise _find_malformed_line(path, form) or SingerVerifyError(f"{path}: cannot be read ({error}).") from error
    if not _is_well_formed_table(table, form.outcomes) or table[OVERFLOW_COLUMN].ne("").any():
        raise _find_malformed_line(path, form) or SingerVerifyError(
            f"{path}: a line does not consist of two paths and a label."
        )
    return _parse_trial_table(table[list(form.columns)], form.outcomes)


def _is_well_formed_table(table: pd.DataFrame, outcomes: dict[str, bool]) -> bool:
    has_paths = all(bool(table[side].ne("").all()) for side in (LEFT, RIGHT))
    return has_paths and bool(table[IS_TARGET].isin(list(outcomes)).all())


def _parse_trial_table(table: pd.DataFrame, outcomes: dict[str, bool]) -> TrialList:
    """Build the list; further columns are labels."""
    is_target = table[IS_TARGET].map(outcomes).to_numpy(bool)
    labels = table.drop(columns=list(COLUMNS))
    paths = table[LEFT].to_numpy(object), table[RIGHT].to_numpy(object)
    return TrialList(*paths, is_target, labels if len(labels.columns) else None)


def _find_malformed_line(path: Path, form: LineFormat) -> SingerVerifyError | None:
    """Return the error for the first malformed line; None if there is none."""
    for position, (number, line) in enumerate(read_numbered_lines(path)):
        if not form.is_well_formed(line) and not (position == 0 and is_sony_header(line)):
            return SingerVerifyError(
                f"{path}, line {number}: {shorten_line(line)!r}; expected two paths and {' or '.join(form.outcomes)}, "
                f"like {form.example!r}."
            )
    return None


def _require_writable_paths(trials: TrialList, name: str, forbidden: str) -> None:
    for path in pd.unique(np.concatenate([trials.left, trials.right])):
        if any(character in path for character in forbidden):
            what = "comma" if "," in forbidden else "blank"
            raise SingerVerifyError(
                f"{path!r}: the format {name} cannot represent a path with a {what} or a line break; write the list "
                f"as csv, or rename the file."
            )
        if not _is_utf8(path):
            raise SingerVerifyError(f"{path}: a list cannot contain a path that is not valid UTF-8; rename the file.")


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
