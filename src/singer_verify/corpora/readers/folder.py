"""Any data set with a folder per singer: `<singer>/**/<utterance>`; labels from an optional table."""

import re
from pathlib import Path

import pandas as pd

from singer_verify.corpora.corpus import Recording
from singer_verify.corpora.labels import NON_LABEL_COLUMNS, UTTERANCE_COLUMN
from singer_verify.corpora.readers import MatchedFiles
from singer_verify.errors import SingerVerifyError

PATH_PATTERN = re.compile(r"^(?P<singer>[^/]+)/(?P<name>.+)$")


def parse_recordings(source: Path, matches: MatchedFiles, labels: Path | None = None) -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels.

    Args:
        source: folder of the data set.
        matches: paths of its utterances with their matches of `PATH_PATTERN`.
        labels: csv with a column `utterance` (path relative to `source`) and one column per label.

    Raises:
        SingerVerifyError: the table cannot be read, or lists files that do not exist.
    """
    table = _read_label_table(labels) if labels else pd.DataFrame()
    if missing := sorted(set(table.index) - {path for path, _ in matches}):
        raise SingerVerifyError(
            f"{labels}: lists {missing[0]} and {len(missing) - 1} other files that are not in {source}; expected paths "
            f"relative to that folder."
        )
    rows = table.to_dict("index")
    return [
        Recording(source / path, match["singer"], match["name"], {str(k): v for k, v in rows.get(path, {}).items()})
        for path, match in matches
    ]


def _read_label_table(labels: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(labels, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise SingerVerifyError(f"--labels {labels}: cannot be read as a table ({error}).") from error
    if UTTERANCE_COLUMN not in table.columns or table[UTTERANCE_COLUMN].duplicated().any():
        raise SingerVerifyError(f"--labels {labels}: expected a column {UTTERANCE_COLUMN} that names each file once.")
    return table.set_index(UTTERANCE_COLUMN).drop(columns=list(NON_LABEL_COLUMNS), errors="ignore")
