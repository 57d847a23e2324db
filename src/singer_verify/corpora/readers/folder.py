"""Any data set with a folder per singer: `<singer>/**/<utterance>`; labels from a table, if there is one."""

import re
from pathlib import Path

import pandas as pd

from singer_verify.corpora.labels import NON_LABEL_COLUMNS, UTTERANCE_COLUMN
from singer_verify.corpora.readers import MatchedFiles
from singer_verify.corpora.recording import Recording
from singer_verify.errors import SingerVerifyError

PATH_PATTERN = re.compile(r"^(?P<singer>[^/]+)/(?P<name>.+)$")


def parse_recordings(source: Path, found: MatchedFiles, labels: Path | None = None) -> list[Recording]:
    """
    Args:
        source: the folder of the data set.
        found: its utterances.
        labels: a csv with a column `utterance` (path relative to `source`) and one per label.

    Raises:
        SingerVerifyError: no such table, or it names files that are not there.
    """
    known = _read_label_table(labels) if labels else pd.DataFrame()
    if strays := sorted(set(known.index) - {path for path, _ in found}):
        raise SingerVerifyError(
            f"{labels}: names {strays[0]} and {len(strays) - 1} other files that are not in {source}; expected paths "
            f"relative to it."
        )
    rows = known.to_dict("index")
    return [
        Recording(source / path, match["singer"], match["name"], {str(k): v for k, v in rows.get(path, {}).items()})
        for path, match in found
    ]


def _read_label_table(labels: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(labels, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise SingerVerifyError(f"--labels {labels}: cannot be read as a table ({error}).") from error
    if UTTERANCE_COLUMN not in table.columns or table[UTTERANCE_COLUMN].duplicated().any():
        raise SingerVerifyError(f"--labels {labels}: expected a column {UTTERANCE_COLUMN} that names each file once.")
    return table.set_index(UTTERANCE_COLUMN).drop(columns=list(NON_LABEL_COLUMNS), errors="ignore")
