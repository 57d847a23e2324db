"""DAMP, Smule's digital archive of mobile performances: `<performance>.m4a` and a table of performances.

The table (csv, tsv or json lines) names account, arrangement (the song) and gender of each performance. The account is
the singer: it is not the first number of a performance's name, although the two go together.
"""

import re
from pathlib import Path

import pandas as pd

from singer_verify.corpora.readers import MatchedFiles
from singer_verify.corpora.recording import FEMALE, MALE, Recording
from singer_verify.errors import SingerVerifyError

PATH_PATTERN = re.compile(r"(?:^|/)(?P<performance>\d+_\d+)\.(?:m4a|aac|ogg|wav|flac)$")
REQUIRED_COLUMNS = ("performance_id", "account_id")
GENDERS = {"F": FEMALE, "FEMALE": FEMALE, "M": MALE, "MALE": MALE}


def parse_recordings(source: Path, found: MatchedFiles, metadata: Path | None = None) -> list[Recording]:
    """
    Args:
        source: the folder of the data set.
        found: its utterances.
        metadata: the table of performances; looked for in `source` if not given.

    Raises:
        SingerVerifyError: no table, or performances that it does not name.
    """
    path = metadata or _find_performance_table(source)
    performances = _read_performance_table(path)
    if missing := [match["performance"] for _, match in found if match["performance"] not in performances]:
        raise SingerVerifyError(
            f"{path}: does not name {len(missing)} of {len(found)} performances (the first: {missing[0]}), so that "
            f"their singers are not known; give the whole table with --metadata, or move these files away."
        )
    return [_build_recording(source / path, performances[match["performance"]]) for path, match in found]


def _find_performance_table(source: Path) -> Path:
    for path in sorted(path for path in source.rglob("*") if path.suffix in (".csv", ".tsv", ".json", ".jsonl")):
        if "account_id" in path.read_text(encoding="utf-8", errors="replace")[:4096]:
            return path
    raise SingerVerifyError(
        f"{source}: holds no table with a column account_id; singers are not known without it: give it with --metadata."
    )


def _read_performance_table(path: Path) -> dict[str, dict[str, str]]:
    """The row of each performance."""
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
