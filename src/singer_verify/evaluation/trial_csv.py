"""Trial lists as csv, a row at a time, so that the first that is malformed is named."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pandas as pd

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.trial_formats import COLUMNS, CSV_OUTCOMES, as_text, shortened

Row = tuple[int, list[str]]  # with the number of its line


def csv_table(path: Path) -> pd.DataFrame:
    """The rows of a list below its header, of strings as they stand. Blank lines are passed over.

    Raises:
        SingerVerifyError: a header without the columns needed, or with one twice; a row with more or fewer fields than
            the header, without a path, or with an `is_target` that is none.
    """
    with as_text(path, newline="") as file:
        rows = _rows(path, file)
        _, header = next(rows)
        _require_columns(path, header)
        columns: list[list[str]] = [[] for _ in header]
        once: dict[str, str] = {}  # a path is in many rows, and is kept once
        for row in _well_formed(path, header, rows):
            for column, field in zip(columns, row, strict=True):
                column.append(once.setdefault(field, field))
    return pd.DataFrame(dict(zip(header, columns, strict=True)), dtype=object)


def _rows(path: Path, file: TextIO) -> Iterator[Row]:
    reader = csv.reader(file)
    try:
        yield from ((reader.line_num, row) for row in reader if len(row) > 1 or (row and row[0].strip()))
    except csv.Error as error:
        raise SingerVerifyError(
            f"{path}, line {reader.line_num}: cannot be read as csv ({error}); expected fields separated by commas, "
            f"quotation marks in pairs."
        ) from error


def _require_columns(path: Path, header: list[str]) -> None:
    if lacking := [name for name in COLUMNS if name not in header]:
        raise SingerVerifyError(
            f"{path}: has no column {lacking[0]} (columns found: {', '.join(header)}); expected {', '.join(COLUMNS)}, "
            f"where 1 is one singer, and any labels after them."
        )
    name, count = Counter(header).most_common(1)[0]
    if count > 1:
        raise SingerVerifyError(f"{path}: has {count} columns {name!r}; expected a name of its own for each.")


def _well_formed(path: Path, header: list[str], rows: Iterator[Row]) -> Iterator[list[str]]:
    left, right, is_target = (header.index(name) for name in COLUMNS)
    for number, row in rows:
        if len(row) != len(header) or not row[left] or not row[right] or row[is_target] not in CSV_OUTCOMES:
            raise SingerVerifyError(
                f"{path}, line {number}: {shortened(','.join(row))!r}; expected {len(header)} fields as in the header, "
                f"two of them paths, and is_target 1 or 0."
            )
        yield row
