"""M4Singer (Zhang et al. 2022): `<voice>-<number>#<song>/<part>.wav`, twenty Mandarin singers of four voice types."""

import re
from pathlib import Path

from singer_verify.corpora.corpus import FEMALE, MALE, Recording
from singer_verify.corpora.readers import MatchedFiles

PATH_PATTERN = re.compile(
    r"(?:^|/)(?P<singer>(?P<voice>Alto|Bass|Soprano|Tenor)-\d+)#(?P<song>[^/]+)/(?P<part>\d+)\.(?:wav|flac)$"
)
GENDER_BY_VOICE = {"Soprano": FEMALE, "Alto": FEMALE, "Tenor": MALE, "Bass": MALE}


def parse_recordings(source: Path, matches: MatchedFiles) -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels."""
    return [_build_recording(source / path, match) for path, match in matches]


def _build_recording(path: Path, match: re.Match[str]) -> Recording:
    labels = {"gender": GENDER_BY_VOICE[match["voice"]], "song": match["song"], "voice": match["voice"].lower()}
    return Recording(path, match["singer"], f"{match['song']}/{path.name}", labels)
