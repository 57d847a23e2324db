"""Any data set with a folder per singer: `<singer>/**/<utterance>`; `prepare --labels` adds labels from a table."""

import re
from pathlib import Path

from singer_verify.corpora.corpus import Recording
from singer_verify.corpora.readers import MatchedFiles

PATH_PATTERN = re.compile(r"^(?P<singer>[^/]+)/(?P<name>.+)$")


def parse_recordings(source: Path, matches: MatchedFiles) -> list[Recording]:
    """Return a recording for every matched file, with its singer.

    Args:
        source: folder of the data set.
        matches: paths of its utterances with their matches of `PATH_PATTERN`.
    """
    return [Recording(source / path, match["singer"], match["name"]) for path, match in matches]
