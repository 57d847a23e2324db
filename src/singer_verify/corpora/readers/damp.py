"""DAMP, Smule's digital archive of mobile performances: `<performance>.m4a` and a table of performances.

The table (csv, tsv or json lines) gives the account, arrangement (the song) and gender of each performance. The account
is the singer; it is not the first number in the name of a performance, although the two correlate.
"""

import re
from pathlib import Path

import pandas as pd

from singer_verify.corpora.corpus import FEMALE, MALE, Recording
from singer_verify.corpora.file_search import find_files
from singer_verify.corpora.readers import MatchedFiles
from singer_verify.errors import SingerVerifyError

PATH_PATTERN = re.compile(r"(?:^|/)(?P<performance>\d+_\d+)\.(?:m4a|aac|ogg|wav|flac)$")
REQUIRED_COLUMNS = ("performance_id", "account_id")
GENDERS = {"F": FEMALE, "FEMALE": FEMALE, "M": MALE, "MALE": MALE}


def parse_recordings(source: Path, matches: MatchedFiles, metadata: Path | None = None) -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels.

    Args:
        source: folder of the data set.
        matches: paths of its utterances with their matches of `PATH_PATTERN`.
        metadata: table of performances; searched for in `source` by default.

    Raises:
        SingerVerifyError: there is no such table, or it lacks some of the performances.
    """
    path = metadata or _find_performance_table(source)
    performances = _read_performance_table(path)
    if missing := [match["performance"] for _, match in matches if match["performance"] not in performances]:
        raise SingerVerifyError(
            f"{path}: lacks {len(missing)} of {len(matches)} performances (the first: {missing[0]}); pass "
            f"the complete table with --metadata, or move these files away."
        )
    return [_build_recording(source / path, performances[match["performance"]]) for path, match in matches]


def _find_performance_table(source: Path) -> Path:
    tables = [path for path in find_files(source).files if not path.name.startswith(".")]
    for path in sorted(path for path in tables if path.suffix in (".csv", ".tsv", ".json", ".jsonl")):
        if "account_id" in path.read_text(encoding="utf-8", errors="replace")[:4096]:
            return path
    raise SingerVerifyError(
        f"{source}: contains no table with a column account_id, which identifies the singers; pass it with --metadata."
    )


def _read_performance_table(path: Path) -> dict[str, dict[str, str]]:
    """Return the row of each performance, by performance id."""
    try:
        if path.suffix.startswith(".json"):
            table = pd.read_json(path, lines=path.suffix == ".jsonl", dtype=False).astype(str)
        else:
            separator = "\t" if path.suffix == ".tsv" else ","
            table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise SingerVerifyError(f"--metadata {path}: cannot be read as a table ({error}).") from error
    if missing := [name for name in REQUIRED_COLUMNS if name not in table.columns]:
        raise SingerVerifyError(
            f"--metadata {path}: has no column {missing[0]}; expected {', '.join(REQUIRED_COLUMNS)}."
        )
    rows = ({str(name): str(value).strip() for name, value in row.items()} for row in table.to_dict("records"))
    return {row["performance_id"]: row for row in rows}


def _build_recording(path: Path, row: dict[str, str]) -> Recording:
    labels = {
        "gender": GENDERS.get(row.get("gender", "").upper(), ""),
        "song": row.get("arrangement_id", ""),
    }
    return Recording(path, row["account_id"], path.name, labels)
