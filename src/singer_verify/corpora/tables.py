"""Tables and text as spreadsheets and other systems write them: encodings, line ends, separators, quotation marks."""

import codecs
import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pandas as pd

from singer_verify.errors import SingerVerifyError

SEPARATORS = (",", ";", "\t")
ENCODING_BY_MARK = {  # byte order marks; that of UTF-16 begins that of UTF-32
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
GZIP_MARK, ZIP_MARK = b"\x1f\x8b", b"PK\x03\x04"
CsvRow = tuple[int, list[str]]  # number of its first line, and fields


def read_text(path: Path, expected: str) -> str:
    """Read a text file: UTF-8, or UTF-16 or UTF-32 with a byte order mark; gzipped or not. Line ends stay as they are.

    Args:
        path: path of the file.
        expected: what it should be, for the message.

    Raises:
        SingerVerifyError: the file cannot be read, or is in another encoding, which could only be guessed.
    """
    try:
        content = path.read_bytes()
        if content.startswith(GZIP_MARK):
            content = gzip.decompress(content)
    except FileNotFoundError as error:
        raise SingerVerifyError(f"{path}: no such file; expected {expected}.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise SingerVerifyError(f"{path}: cannot be read ({error}); expected {expected}.") from error
    if content.startswith(ZIP_MARK):
        raise SingerVerifyError(f"{path}: is a zip file or a workbook; expected {expected}: export it as csv.")
    encoding = next((name for mark, name in ENCODING_BY_MARK.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if not encoding.startswith("utf-8"):
            raise SingerVerifyError(f"{path}: cannot be read as {encoding} text ({error.reason}).") from error
        number = content.count(b"\n", 0, error.start) + 1
        line = content.splitlines()[number - 1] if b"\n" in content or number == 1 else content
        raise SingerVerifyError(
            f"{path}, line {number}: cannot be read as UTF-8 text (byte {content[error.start]:#04x} in "
            f"{shorten_line(line.decode('latin-1'))!r}, if it is Latin-1); save the file as UTF-8."
        ) from error


def shorten_line(line: str, max_length: int = 120) -> str:
    """Cut a line of a file for a message."""
    text = line.rstrip("\r\n")
    return text if len(text) <= max_length else f"{text[:max_length]}…"


def iterate_csv_rows(path: Path, text: str, separator: str, skip_blanks: bool, option: str = "") -> Iterator[CsvRow]:
    """Yield the rows that are not blank, with the number of their first line.

    Args:
        path: path of the file, for the message.
        text: its content.
        separator: separator of the fields.
        skip_blanks: whether blanks after a separator belong to it.
        option: what precedes the path in messages, for example "--labels ".

    Raises:
        SingerVerifyError: a field is longer than any path, mostly because a quotation mark is never closed.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=skip_blanks)
    number = 1
    try:
        for row in reader:
            if len(row) > 1 or (row and row[0].strip()):
                yield number, row
            number = reader.line_num + 1
    except csv.Error as error:
        raise SingerVerifyError(
            f"{option}{path}, line {number}: cannot be read as csv ({error}); expected fields separated by "
            f"{separator!r}, quotation marks in pairs."
        ) from error


def has_spaced_separators(line: str, separator: str) -> bool:
    """Return whether every separator of a line is followed by a blank, so that the blank belongs to it."""
    return line.count(separator) == line.count(f"{separator} ") > 0


def read_table(
    path: Path, option: str, required: Collection[str], aliases: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Read a table with a header as strings, separated by commas, semicolons or tabs.

    Names of columns are taken without surrounding blanks; those in capitals only, and known ones, in lower case.

    Args:
        path: path of the table.
        option: what precedes the path in messages, for example "--labels ".
        required: columns of which the table must have one; the separator is the one that finds most of them.
        aliases: other names of required columns, by which a column is known where the table has no other of that name.

    Raises:
        SingerVerifyError: the file cannot be read, has none of these columns or one twice, or a row with more fields
            than the header.
    """
    text = read_text(path, "a table")
    line = next((line for line in io.StringIO(text, newline=None) if line.strip()), "")

    def count_required(separator: str) -> int:
        try:
            fields = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
        except csv.Error:  # which reading the rows reports
            return 0
        return len({field.strip().lower() for field in fields} & {*required, *(aliases or ())})

    separator = max(SEPARATORS, key=count_required)
    rows = iterate_csv_rows(path, text, separator, has_spaced_separators(line, separator), option)
    header = _apply_aliases(_normalise_header(next(rows, (0, []))[1]), aliases or {})
    if not header:
        raise SingerVerifyError(
            f"{option}{path}: cannot be read as a table (it is empty); expected a header with a column "
            f"{' or '.join(required)}{_advise(aliases)}."
        )
    if not set(header) & set(required):
        raise SingerVerifyError(
            f"{option}{path}: has no column {' or '.join(required)} (columns found: {', '.join(header)})"
            f"{_advise(aliases)}."
        )
    if repeated := [name for name, count in Counter(header).items() if count > 1 and name]:
        raise SingerVerifyError(f"{option}{path}: has two columns {repeated[0]!r}; expected unique names.")
    fields = []
    for number, row in rows:
        if any(field.strip() for field in row[len(header) :]):
            raise SingerVerifyError(
                f"{option}{path}, line {number}: {shorten_line(separator.join(row))!r}; expected {len(header)} fields "
                f"as in the header; put quotation marks around a field that contains {separator!r}."
            )
        fields.append([*row[: len(header)], *[""] * (len(header) - len(row))])
    table = pd.DataFrame(fields, columns=header, dtype=object)
    return table.loc[:, [bool(name) for name in header]]  # a column without a name is an index, or a trailing separator


def _advise(aliases: Mapping[str, str] | None) -> str:
    """Name other names of columns, `; path or file for utterance`; nothing if there are none."""
    by_usual: dict[str, list[str]] = {}
    for name, usual in (aliases or {}).items():
        by_usual.setdefault(usual, []).append(name)
    return "".join(f"; {usual} may be called {', '.join(names)}" for usual, names in by_usual.items())


KNOWN_COLUMNS = frozenset(
    ("utterance", "singer", "split", "seconds", "sample_rate", "channels", "gender", "song", "style", "technique")
)


def _apply_aliases(header: list[str], aliases: Mapping[str, str]) -> list[str]:
    """Give a column its usual name where it is the only one with another name of it."""
    meant = [aliases.get(name.lower(), name) for name in header]
    return [
        usual if meant.count(usual) == 1 or name in aliases.values() else name
        for name, usual in zip(header, meant, strict=True)
    ]


def _normalise_header(header: list[str]) -> list[str]:
    names = [name.strip() for name in header]
    in_capitals = "".join(names).isupper()
    return [name.lower() if in_capitals or name.lower() in KNOWN_COLUMNS else name for name in names]
