"""The formats of trial lists, told apart by what a line looks like.

| name | a line | used by |
| --- | --- | --- |
| csv | `a/1.wav,a/2.wav,1,...` below a header `left,right,is_target,...` | this project; other columns are labels |
| voxceleb | `1 a/1.wav a/2.wav` | VoxCeleb and VoxSRC (Nagrani, Chung, Zisserman 2017) |
| kaldi | `a/1.wav a/2.wav target`, or `nontarget` | Kaldi, NIST's evaluations |
| sony | `1,a/1.wav,a/2.wav` | the singer identity lists of Sony CSL (Torres, Lattner, Richard 2023) |

In all of them 1 is one singer. `sony` has no header; one of `label,path1,path2` is read over. It knows no quoting, so a
path cannot hold a comma there, and no blank in `voxceleb` and `kaldi`.
"""

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from singer_verify.errors import SingerVerifyError

LEFT, RIGHT, IS_TARGET = COLUMNS = ("left", "right", "is_target")
CSV = "csv"
SONY_HEADER = ("label", "path1", "path2")
ONE_OR_ZERO = {"1": True, "0": False}
KALDI_OUTCOMES = {"target": True, "nontarget": False}
BLANKS = "[ \t]+"  # other white space may be part of a name


@dataclass(frozen=True)
class LineFormat:
    """A format without header, of three fields a line.

    Attributes:
        columns: which of `COLUMNS` lies where.
        separator: between the fields, as it is written.
        pattern: the same as it is read.
        forbidden: what a path cannot hold.
        outcomes: what stands for target and non-target.
        example: a line.
    """

    columns: tuple[str, ...]
    separator: str
    pattern: str
    forbidden: str
    outcomes: dict[str, bool]
    example: str

    def fields(self, line: str) -> list[str]:
        """Of one line, as many as there are."""
        return re.split(self.pattern, line.strip("\r\n" if self.separator == "," else " \t\r\n"))

    def is_well_formed(self, line: str) -> bool:
        """Whether a line holds two paths and an outcome."""
        fields = self.fields(line)
        return len(fields) == len(COLUMNS) and all(fields) and fields[self.columns.index(IS_TARGET)] in self.outcomes


LINE_FORMATS = {
    "voxceleb": LineFormat((IS_TARGET, LEFT, RIGHT), " ", BLANKS, " \t\r\n", ONE_OR_ZERO, "1 a.wav b.wav"),
    "kaldi": LineFormat((LEFT, RIGHT, IS_TARGET), " ", BLANKS, " \t\r\n", KALDI_OUTCOMES, "a.wav b.wav target"),
    "sony": LineFormat((IS_TARGET, LEFT, RIGHT), ",", ",", ",\r\n", ONE_OR_ZERO, "1,a.wav,b.wav"),
}
FORMATS = (CSV, *LINE_FORMATS)
CSV_OUTCOMES = ONE_OR_ZERO | {"true": True, "false": False, "True": True, "False": False}


def recognised_format(path: Path) -> str:
    """The format of a file, by its first line that is not blank.

    Raises:
        SingerVerifyError: it is no text, blank, or in none of the formats.
    """
    number, line = next(numbered_lines(path), (0, ""))
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
        f"{path}, line {number}: {shortened(line)!r} begins no known list of trials; expected lines like {examples}, "
        f"or a header {','.join(COLUMNS)} ({CSV})."
    )


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not blank, with their numbers, counted from 1.

    Raises:
        SingerVerifyError: the file cannot be read, or is no text.
    """
    with as_text(path) as file:
        yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())


@contextmanager
def as_text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """A text file to be read, with or without a mark at its beginning.

    Args:
        path: of the file.
        newline: as of `open`.

    Raises:
        SingerVerifyError: the file cannot be read, or is no text.
    """
    try:
        with open(path, encoding="utf-8-sig", newline=newline) as file:
            yield file
    except FileNotFoundError as error:
        raise SingerVerifyError(f"{path}: no such file; expected a list of trials.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SingerVerifyError(f"{path}: cannot be read as text in UTF-8 ({error}).") from error


def _is_csv_header(line: str) -> bool:
    try:
        header = next(csv.reader([line]))
    except csv.Error:  # a field that is longer than any path
        return False
    return LEFT in header and RIGHT in header


def is_sony_header(line: str) -> bool:
    """Whether a line names the columns of Sony's lists."""
    return tuple(field.strip().lower() for field in line.split(",")) == SONY_HEADER


def shortened(line: str, most: int = 120) -> str:
    """A line of a file for a message."""
    text = line.rstrip("\r\n")
    return text if len(text) <= most else f"{text[:most]}…"
