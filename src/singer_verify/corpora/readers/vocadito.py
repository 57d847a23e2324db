"""Vocadito (Bittner et al. 2021): forty excerpts of solo singing, `Audio/vocadito_<track>.wav`, by 29 singers.

`vocadito_metadata.csv` gives singer and language of each track; several tracks of a singer are told apart by nothing
else. `none` is singing without words. The titles of the songs are nowhere, so there is no label `song`. Recording
devices differ and are not labelled. Names and columns as in mirdata's loader, and its copy of the table.
"""

import re
from pathlib import Path

from singer_verify.corpora.corpus import Recording
from singer_verify.corpora.readers import MatchedFiles, find_metadata
from singer_verify.corpora.tables import read_table
from singer_verify.errors import SingerVerifyError

PATH_PATTERN = re.compile(r"(?:^|/)vocadito_(?P<track>\d+)\.wav$")
TRACK_TABLE_NAME = "vocadito_metadata.csv"
REQUIRED_COLUMNS = ("track_id", "singer_id", "language")


def parse_recordings(source: Path, matches: MatchedFiles, metadata: Path | None = None) -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels.

    Args:
        source: folder of the data set.
        matches: paths of its utterances with their matches of `PATH_PATTERN`.
        metadata: table of tracks; searched for in `source` by default.

    Raises:
        SingerVerifyError: there is no such table, or it lacks a column or some of the tracks.
    """
    path = metadata or find_metadata(source, TRACK_TABLE_NAME, "vocadito")
    table = read_table(path, "--metadata ", REQUIRED_COLUMNS)
    if absent := [name for name in REQUIRED_COLUMNS if name not in table.columns]:
        raise SingerVerifyError(f"{path}: has no column {absent[0]}; expected {', '.join(REQUIRED_COLUMNS)}.")
    rows = {str(row["track_id"]).strip(): row for row in table.to_dict("records")}
    if missing := [match["track"] for _, match in matches if match["track"] not in rows]:
        raise SingerVerifyError(
            f"{path}: lacks {len(missing)} of {len(matches)} tracks (the first: {missing[0]}); pass the complete table "
            f"with --metadata, or move these files away."
        )
    return [
        Recording(
            source / path, row["singer_id"].strip(), f"{match['track']}.wav", {"language": row["language"].strip()}
        )
        for path, match in matches
        for row in [rows[match["track"]]]
    ]
