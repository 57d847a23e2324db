"""Layout of the fields in the lines of a trial list: its format, or the only layout that its lines allow.

A list in none of the formats is read too where its lines can mean only one thing: other words for the outcome
(`OUTCOMES`), the outcome in another place, fields separated by commas, semicolons, tabs or blanks, a header with other
names (`HEADER_PATTERNS`, `SINGER_HEADER_PATTERNS`), further columns of numbers (an index, scores).
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from singer_verify.corpora.tables import SEPARATORS, has_spaced_separators, shorten_line
from singer_verify.errors import SingerVerifyError

LEFT, RIGHT, IS_TARGET = COLUMNS = ("left", "right", "is_target")
CSV, VOXCELEB, KALDI, SONY = FORMATS = ("csv", "voxceleb", "kaldi", "sony")
SONY_HEADER = ("label", "path1", "path2")
FILE_NOUN = "(?:path|file|filename|wav|audio|utt|utterance|recording|id)"
# Names of columns in lower case, without underscores, hyphens and blanks.
HEADER_PATTERNS = {
    LEFT: re.compile(rf"(?:left|enroll?|enroll?ment|reference|ref|first){FILE_NOUN}?|{FILE_NOUN}(?:1|a)"),
    RIGHT: re.compile(rf"(?:right|test|query|probe|second){FILE_NOUN}?|{FILE_NOUN}(?:2|b)"),
    IS_TARGET: re.compile("(?:is)?(?:target|same|match|samesinger|samespeaker)|label|key|(?:trial|target)type"),
}
# Where no column has such a name: lists that compare singers with recordings.
SINGER_HEADER_PATTERNS = {
    LEFT: re.compile("(?:model|singer|speaker|spk)(?:id)?"),
    RIGHT: re.compile(f"segment(?:id)?|{FILE_NOUN}"),
}
# A list uses the words of one group: a `-1` among zeros may mean unknown. In any case of letters.
OUTCOMES = (
    {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False},
    {"1": True, "1.0": True, "+1": True, "-1": False, "-1.0": False},
    dict.fromkeys(("target", "tgt", "tar", "same", "genuine", "client"), True)
    | dict.fromkeys(
        ("nontarget", "non-target", "non_target", "imp", "impostor", "imposter", "non", "different"), False
    ),
)
QUOTED_FIELD_PATTERN = re.compile(r'(?:^|[,\t])\s*"[^"]*"\s*(?:[,\t]|$)')
BLANKS_PATTERN = re.compile("[ \t]+")  # other whitespace may be part of a name
NUM_SAMPLED_LINES = 1000  # from which the columns of a list in none of the formats are told
NumberedLine = tuple[int, str]


@dataclass(frozen=True)
class LineFormat:
    """A format without header, with three fields per line.

    Attributes:
        columns: order of `COLUMNS`.
        separator: separator of the fields; a blank stands for blanks and tabs.
        words: words for non-target and target.
        forbidden: characters that a path cannot contain.
        example: a line.
    """

    columns: tuple[str, ...]
    separator: str
    words: tuple[str, str]
    forbidden: str
    example: str

    def is_well_formed(self, line: str) -> bool:
        """Return whether a line consists of two paths and one of the words."""
        fields = _split_fields(line, self.separator)
        return len(fields) == len(COLUMNS) and all(fields) and fields[self.columns.index(IS_TARGET)] in self.words


LINE_FORMATS = {
    VOXCELEB: LineFormat((IS_TARGET, LEFT, RIGHT), " ", ("0", "1"), " \t\r\n", "1 a.wav b.wav"),
    KALDI: LineFormat((LEFT, RIGHT, IS_TARGET), " ", ("nontarget", "target"), " \t\r\n", "a.wav b.wav target"),
    SONY: LineFormat((IS_TARGET, LEFT, RIGHT), ",", ("0", "1"), ",\r\n", "1,a.wav,b.wav"),
}


@dataclass(frozen=True)
class Layout:
    """Order, separator and header of the fields of a list.

    Attributes:
        name: the format, or the one most like it.
        columns: name of each field: those of `COLUMNS`, labels, and "" for what is ignored.
        separator: separator of the fields; a blank stands for blanks and tabs.
        header_line: number of the line with the header, 0 without.
        has_quotes: whether fields may stand between quotation marks.
        skips_blanks: whether blanks after a separator belong to it.
    """

    name: str
    columns: tuple[str, ...]
    separator: str
    header_line: int = 0
    has_quotes: bool = False
    skips_blanks: bool = False

    def split(self, line: str) -> list[str]:
        """Split a line into its fields, however many there are."""
        if not self.has_quotes:
            return _split_fields(line, self.separator)
        return _split_quoted_fields(line, self.separator, self.skips_blanks)

    def is_well_formed(self, line: str, outcomes: dict[str, bool]) -> bool:
        """Return whether a line has the fields of the list, two paths and an outcome among them."""
        fields = self.split(line)
        if len(fields) != len(self.columns):
            return False
        left, right, outcome = (fields[self.columns.index(name)] for name in COLUMNS)
        return bool(left and right) and fold_outcome(outcome) in outcomes


def _split_fields(line: str, separator: str) -> list[str]:
    if separator == " ":
        return BLANKS_PATTERN.split(line.strip(" \t\r\n"))
    return line.strip("\r\n").split(separator)


def _split_quoted_fields(line: str, separator: str, skips_blanks: bool = True) -> list[str]:
    try:
        return next(csv.reader([line.strip("\r\n")], delimiter=separator, skipinitialspace=skips_blanks), [])
    except csv.Error:  # a field that is longer than any path
        return []


def fold_outcome(outcome: str) -> str:
    """Return a word for an outcome as `OUTCOMES` spells it."""
    return outcome.strip().casefold()


def find_outcomes(words: Iterable[str]) -> dict[str, bool] | None:
    """Return the group of `OUTCOMES` that has all the words."""
    folded = {fold_outcome(word) for word in words}
    return next((group for group in OUTCOMES if folded <= group.keys()), None)


def iterate_lines(text: str) -> Iterator[NumberedLine]:
    """Yield the lines that are not blank, with their numbers, counted from 1."""
    yield from ((number, line) for number, line in enumerate(io.StringIO(text, newline=None), 1) if line.strip())


def detect_layout(path: Path, text: str) -> Layout:
    """Tell the layout of a trial list from its first lines.

    Args:
        path: the file, for messages.
        text: its content.

    Raises:
        SingerVerifyError: it holds no trial, or is in no known layout.
    """
    lines = list(islice(iterate_lines(text), NUM_SAMPLED_LINES))
    lines = [line for line in lines if not line[1].lstrip().startswith("#")] or lines
    if not lines:
        raise SingerVerifyError(f"{path}: holds no trial; expected a line for each.")
    number, first = lines[0]
    layout = (
        (None if _has_kaldi_lines(lines) else _detect_header(number, first))
        or _detect_line_format(lines)
        or _detect_columns(path, lines, min_share=1.0)
        or _detect_columns(path, lines, min_share=0.6)  # so that the first malformed line can be named
    )
    if layout is None:
        examples = ", ".join(f"{form.example!r} ({name})" for name, form in LINE_FORMATS.items())
        hint = "; it has zero bytes, as UTF-16 without a byte order mark: save it as UTF-8" if "\0" in first else ""
        raise SingerVerifyError(
            f"{path}, line {number}: {shorten_line(first)!r} is not in any known format of trials; expected lines like "
            f"{examples}, or a header {','.join(COLUMNS)} ({CSV}){hint}."
        )
    return layout


def _has_kaldi_lines(lines: list[NumberedLine]) -> bool:
    """Return whether two lines are Kaldi's, so that `enrol test target` is no header."""
    return all(LINE_FORMATS[KALDI].is_well_formed(line) for _, line in lines[:2])


def is_sony_header(line: str) -> bool:
    """Return whether a line is the header of Sony's lists."""
    return tuple(field.strip().lower() for field in line.split(",")) == SONY_HEADER


def _detect_header(number: int, line: str) -> Layout | None:
    """Recognise a header by its names; beside `left` and `right`, `is_target` may be missing: reading says so."""
    if is_sony_header(line):
        return Layout(SONY, LINE_FORMATS[SONY].columns, ",", number, True, has_spaced_separators(line, ","))
    for separator in (*SEPARATORS, " "):
        is_csv = separator != " "
        names = _split_quoted_fields(line, separator) if is_csv else _split_fields(line, " ")
        names = [name.strip() for name in names]
        columns = _name_columns(names)
        if set(COLUMNS) <= set(columns) or (separator in ",;" and {LEFT, RIGHT} <= set(names)):
            skips_blanks = is_csv and has_spaced_separators(line, separator)
            return Layout(CSV if is_csv else KALDI, columns, separator, number, is_csv, skips_blanks)
    return None


def _name_columns(header: list[str]) -> tuple[str, ...]:
    """Return the columns of a header; for each of `COLUMNS` that is missing, the only one with a name like it."""
    columns = ["" if name.lower().startswith("unnamed:") else name for name in header]
    for wanted in COLUMNS:
        simplified = [re.sub(r"[\s_-]", "", name.lower()) for name in columns]
        alike: list[int] = []
        for patterns in (HEADER_PATTERNS, SINGER_HEADER_PATTERNS):
            if not alike and wanted in patterns:
                alike = [place for place, name in enumerate(simplified) if patterns[wanted].fullmatch(name)]
        if wanted not in columns and len(alike) == 1 and columns[alike[0]] not in COLUMNS:
            columns[alike[0]] = wanted
    return tuple(columns)


def _detect_line_format(lines: list[NumberedLine]) -> Layout | None:
    """Recognise a format without header by its first line."""
    first = lines[0][1]
    for name in (SONY, KALDI, VOXCELEB):
        form, separator = LINE_FORMATS[name], LINE_FORMATS[name].separator
        if not form.is_well_formed(first):
            continue
        if separator == " ":
            if all(_split_fields(line, " ")[0][-1] in ",;" for _, line in lines):
                return None  # `a.wav, b.wav, target`
            is_whole = all(len(_split_fields(line, " ")) == len(COLUMNS) for _, line in lines)
            if not is_whole and all(line.strip("\r\n").count("\t") == len(COLUMNS) - 1 for _, line in lines):
                separator = "\t"  # the paths contain blanks
        has_quotes = separator != " " and any(QUOTED_FIELD_PATTERN.search(line.strip()) for _, line in lines)
        skips_blanks = separator == "," and all(has_spaced_separators(line, ",") for _, line in lines)
        return Layout(name, form.columns, separator, 0, has_quotes, skips_blanks)
    return None


def _detect_columns(path: Path, lines: list[NumberedLine], min_share: float) -> Layout | None:
    """Tell the columns of a list in none of the formats by what they hold: one has outcomes, two have other text.

    Args:
        path: path of the list, for the message.
        lines: its first lines.
        min_share: how many of the lines must have a column's kind of values, and as many columns as the first line.

    Raises:
        SingerVerifyError: two different columns could be the outcome.
    """
    for separator in (*SEPARATORS, " "):
        has_quotes = separator != " "
        split = [_split_quoted_fields(line, separator) if has_quotes else _split_fields(line, " ") for _, line in lines]
        width = len(split[0])
        rows = [fields for fields in split if len(fields) == width]
        if width < len(COLUMNS) or len(rows) < min_share * len(split):
            continue
        columns = list(zip(*rows, strict=True))
        outcomes = [place for place in range(width) if _compute_outcome_share(columns[place]) >= min_share]
        others = [place for place in range(width) if place not in outcomes]
        paths = others if width == len(COLUMNS) else [place for place in others if not _is_numeric(columns[place])]
        if not outcomes or len(paths) != 2:
            continue
        if len({columns[place] for place in outcomes}) > 1:
            raise SingerVerifyError(
                f"{path}, line {lines[0][0]}: {shorten_line(lines[0][1])!r}: fields {outcomes[0] + 1} and "
                f"{outcomes[1] + 1} could both say whether it is a target trial; leave out one of them, or write a "
                f"header {','.join(COLUMNS)} with names for the others."
            )
        names = [""] * width
        names[outcomes[0]], names[paths[0]], names[paths[1]] = IS_TARGET, LEFT, RIGHT
        name = SONY if separator in ",;" else VOXCELEB if outcomes[0] < paths[0] else KALDI
        skips_blanks = has_quotes and all(has_spaced_separators(line, separator) for _, line in lines)
        return Layout(name, tuple(names), separator, 0, has_quotes, skips_blanks)
    return None


def _compute_outcome_share(values: tuple[str, ...]) -> float:
    """Compute the largest share of values that are the words of one group of outcomes."""
    folded = Counter(map(fold_outcome, values))
    return max(sum(folded[word] for word in group) for group in OUTCOMES) / len(values)


def _is_numeric(values: Iterable[str]) -> bool:
    try:
        return all(np.isfinite(float(value)) for value in values)
    except ValueError:
        return False
