"""M4Singer (Zhang et al. 2022): `<voice>-<number>#<song>/<part>.wav`, twenty Mandarin singers of four voice types."""

import re
from pathlib import Path

from singer_verify.corpora.readers import Found
from singer_verify.corpora.recording import FEMALE, MALE, Recording

NAMES = re.compile(
    r"(?:^|/)(?P<singer>(?P<voice>Alto|Bass|Soprano|Tenor)-\d+)#(?P<song>[^/]+)/(?P<part>\d+)\.(?:wav|flac)$"
)
GENDER_OF = {"Soprano": FEMALE, "Alto": FEMALE, "Tenor": MALE, "Bass": MALE}


def recordings(source: Path, found: Found) -> list[Recording]:
    return [_recording(source / path, match) for path, match in found]


def _recording(path: Path, match: re.Match[str]) -> Recording:
    labels = {"gender": GENDER_OF[match["voice"]], "song": match["song"], "voice": match["voice"].lower()}
    return Recording(path, match["singer"], f"{match['song']}/{path.name}", labels)
