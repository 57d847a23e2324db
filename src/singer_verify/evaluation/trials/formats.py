"""Reading and writing of trial lists in several formats, which are told apart by their content.

| name | a line | used by |
| --- | --- | --- |
| csv | `a/1.wav,a/2.wav,1,...` below a header `left,right,is_target,...` | this project; other columns are labels |
| voxceleb | `1 a/1.wav a/2.wav` | VoxCeleb and VoxSRC (Nagrani, Chung, Zisserman 2017) |
| kaldi | `a/1.wav a/2.wav target`, or `nontarget` | Kaldi, NIST's evaluations |
| sony | `1,a/1.wav,a/2.wav` | the singer identity lists of Sony CSL (Torres, Lattner, Richard 2023) |

In all of them 1 means the same singer. `sony` has no header; one of `label,path1,path2` is skipped. It has no quoting,
so paths cannot contain commas, nor blanks in `voxceleb` and `kaldi`.

One side of a list may be singers instead of paths, which only a corpus can tell (see `singer_sides`).

Lists in other layouts are read where their lines can mean only one thing (see `layouts`); lines after `#` are comments.

Csv is read row by row, so that the first malformed row can be named. The formats without header are read by pandas;
only if something is wrong are their lines searched for the first malformed one.
"""

import csv
import io
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from singer_verify.atomic_files import atomic_write, require_output_path
from singer_verify.corpora.tables import iterate_csv_rows, read_text, shorten_line
from singer_verify.errors import SingerVerifyError, require_choice
from singer_verify.evaluation.trials.layouts import (
    COLUMNS,
    CSV,
    FORMATS,
    IS_TARGET,
    KALDI,
    LEFT,
    LINE_FORMATS,
    OUTCOMES,
    RIGHT,
    VOXCELEB,
    Layout,
    LineFormat,
    detect_layout,
    find_outcomes,
    fold_outcome,
    iterate_lines,
)
from singer_verify.evaluation.trials.trial_list import TrialList, require_both_kinds

FORMAT_BY_SUFFIX = {".csv": CSV, ".txt": VOXCELEB, ".trials": KALDI, "": KALDI}  # Kaldi's are named `trials`
COMMENT_PATTERN = re.compile(r"^[ \t]*#", re.MULTILINE)
OVERFLOW_COLUMN = "overflow"  # takes an extra field, which pandas would otherwise drop silently


def read_trials(path: Path) -> TrialList:
    """Read a list of trials in any of the formats, detected by its content. Blank lines and comments are skipped.

    Raises:
        SingerVerifyError: no such file, an unknown format, a malformed line (with its number and content), no trial, or
            trials of one kind only.
    """
    text = read_text(path, "a list of trials")
    layout = detect_layout(path, text)
    if layout.name == CSV:
        _require_csv_columns(path, layout.columns)
    text = _blank_comments(text, layout)
    trials = _read_csv(path, text, layout) if layout.name == CSV else _read_lines(path, text, layout)
    require_both_kinds(trials, str(path))
    return trials


def _blank_comments(text: str, layout: Layout) -> str:
    """Empty the lines that begin with `#`, unless they are trials: the name of a file may begin with it."""
    if not COMMENT_PATTERN.search(text):
        return text
    every_word = {word: is_target for group in OUTCOMES for word, is_target in group.items()}

    def is_comment(line: str) -> bool:
        is_apart = layout.separator == " " and layout.split(line)[0] == "#"
        return line.lstrip().startswith("#") and (is_apart or not layout.is_well_formed(line, every_word))

    return "".join("\n" if is_comment(line) else line for line in io.StringIO(text, newline=None))


def _require_csv_columns(path: Path, header: tuple[str, ...]) -> None:
    if lacking := [name for name in COLUMNS if name not in header]:
        raise SingerVerifyError(
            f"{path}: has no column {lacking[0]} (columns found: {', '.join(header)}); expected {', '.join(COLUMNS)}, "
            f"where 1 means the same singer, and any labels."
        )
    repeated = {name: count for name, count in Counter(header).items() if count > 1 and name}
    for name, count in repeated.items():
        raise SingerVerifyError(f"{path}: has {count} columns {name!r}; expected unique names.")


def _read_csv(path: Path, text: str, layout: Layout) -> TrialList:
    """Read the rows below a header as strings; columns besides those of the trials are labels.

    Raises:
        SingerVerifyError: a row with more or fewer fields than the header, without a path, or with an invalid outcome.
    """
    header, (left, right, is_target) = layout.columns, (layout.columns.index(name) for name in COLUMNS)
    columns: list[list[str]] = [[] for _ in header]
    interned: dict[str, str] = {}  # a path is in many rows, and is kept once
    outcomes: dict[str, bool] | None = None
    words: set[str] = set()
    for number, row in iterate_csv_rows(path, text, layout.separator, layout.skips_blanks):
        if number <= layout.header_line:
            continue
        is_whole = len(row) == len(header) and bool(row[left] and row[right])
        if is_whole and row[is_target] not in words:
            words.add(row[is_target])
            outcomes = find_outcomes(words)
        if not is_whole or outcomes is None:
            raise SingerVerifyError(
                f"{path}, line {number}: {shorten_line(layout.separator.join(row))!r}; expected {len(header)} fields "
                f"as in the header, two of them paths, quotation marks in pairs, and is_target 1 or 0."
            )
        for column, field in zip(columns, row, strict=True):
            column.append(interned.setdefault(field, field))
    table = {name: column for name, column in zip(header, columns, strict=True) if name}
    return _build_trial_list(pd.DataFrame(table, dtype=object), outcomes or {})


def _read_lines(path: Path, text: str, layout: Layout) -> TrialList:
    names = [name or f"ignored {place}" for place, name in enumerate(layout.columns)]
    try:
        table = pd.read_csv(
            io.StringIO(text, newline=""),
            sep=r"\s+"
            if layout.separator == " "
            else layout.separator,  # the former is blanks and tabs to its C parser
            header=None,
            names=[*names, OVERFLOW_COLUMN],
            skiprows=layout.header_line,
            dtype=object,
            na_filter=False,
            quoting=csv.QUOTE_MINIMAL if layout.has_quotes else csv.QUOTE_NONE,
            skipinitialspace=layout.skips_blanks,
            index_col=False,
        )
    except ValueError as error:
        raise _find_malformed_line(path, text, layout) or SingerVerifyError(
            f"{path}: cannot be read ({error})."
        ) from error
    outcomes = find_outcomes(pd.unique(table[IS_TARGET]).tolist())
    has_paths = all(bool(table[side].ne("").all()) for side in (LEFT, RIGHT))
    if outcomes is None or not has_paths or table[OVERFLOW_COLUMN].ne("").any():
        raise _find_malformed_line(path, text, layout) or SingerVerifyError(
            f"{path}: a line does not consist of two paths and a label."
        )
    return _build_trial_list(table[list(COLUMNS)], outcomes)


def _find_malformed_line(path: Path, text: str, layout: Layout) -> SingerVerifyError | None:
    """Return the error for the first malformed line; None if there is none."""
    form, words = LINE_FORMATS[layout.name], set[str]()
    for number, line in iterate_lines(text):
        if number <= layout.header_line:
            continue
        before, fields = set(words), layout.split(line)
        words.update(fields[layout.columns.index(IS_TARGET) :][:1])
        outcomes = find_outcomes(words)
        if outcomes is None or not layout.is_well_formed(line, outcomes):
            return SingerVerifyError(
                f"{path}, line {number}: {shorten_line(line)!r}; expected {len(layout.columns)} fields as in the other "
                f"lines, two of them paths, and {' or '.join(sorted(before) or reversed(form.words))}, like "
                f"{form.example!r}{'' if before else ', or a header ' + ','.join(COLUMNS)}."
            )
    return None


def _build_trial_list(table: pd.DataFrame, outcomes: dict[str, bool]) -> TrialList:
    """Build the list; further columns are labels."""
    is_target = table[IS_TARGET].map(lambda word: outcomes[fold_outcome(word)]).to_numpy(bool)
    labels = table.drop(columns=list(COLUMNS))
    paths = table[LEFT].to_numpy(object), table[RIGHT].to_numpy(object)
    return TrialList(*paths, is_target, labels if len(labels.columns) else None)


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
    _require_writable_paths(trials, name, "\r" if name == CSV else LINE_FORMATS[name].forbidden)
    table = pd.DataFrame({LEFT: trials.left, RIGHT: trials.right, IS_TARGET: trials.is_target.astype(int)})
    with atomic_write(path) as part:
        if name == CSV:
            labelled = table if trials.labels is None else table.join(trials.labels.reset_index(drop=True))
            labelled.to_csv(part, index=False, lineterminator="\n")
        else:
            _write_lines(part, table, LINE_FORMATS[name])


def _write_lines(part: Path, table: pd.DataFrame, form: LineFormat) -> None:
    words = np.array(form.words, object)
    ordered = table.assign(**{IS_TARGET: words[table[IS_TARGET]]})[list(form.columns)]
    ordered.to_csv(part, sep=form.separator, index=False, header=False, quoting=csv.QUOTE_NONE, lineterminator="\n")


def _require_writable_paths(trials: TrialList, name: str, forbidden: str) -> None:
    for path in pd.unique(np.concatenate([trials.left, trials.right])):
        if any(character in path for character in forbidden):
            what = {"\r": "carriage return"}.get(forbidden, "comma" if "," in forbidden else "blank")
            raise SingerVerifyError(
                f"{path!r}: the format {name} cannot represent a path with a {what} or a line break; "
                f"{'' if name == CSV else 'write the list as csv, or '}rename the file."
            )
        if not _is_utf8(path):
            raise SingerVerifyError(f"{path}: a list cannot contain a path that is not valid UTF-8; rename the file.")


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
