"""OpenSinger (Huang et al. 2021): `{ManRaw,WomanRaw}/<number>_<song>/<number>_<song>_<part>.wav`.

Men and women are numbered separately: man 3 and woman 3 are two singers.
"""

import re
from pathlib import Path

from singer_verify.corpora.corpus import FEMALE, MALE, Recording
from singer_verify.corpora.readers import MatchedFiles

PATH_PATTERN = re.compile(r"(?:^|/)(?P<sex>Man|Woman)Raw/(?P<number>\d+)_(?P<song>[^/]+)/(?P<name>[^/]+\.wav)$")
GENDERS = {"Man": MALE, "Woman": FEMALE}


def parse_recordings(source: Path, matches: MatchedFiles) -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels."""
    return [_build_recording(source / path, match) for path, match in matches]


def _build_recording(path: Path, match: re.Match[str]) -> Recording:
    labels = {"gender": GENDERS[match["sex"]], "song": match["song"]}
    return Recording(path, f"{match['sex'].lower()}_{match['number']}", f"{match['song']}/{path.name}", labels)
