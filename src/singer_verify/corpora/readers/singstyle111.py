"""SingStyle111 (Dai et al. 2023): `<language>/<singer>-<song>-<genre>-<expression>/<the same><number>.wav`.

Eight professional singers, 111 songs in English, Chinese and Italian, most of them sung in several genres and with
several expressions, in sections: `chinese/F1-九儿-Opera-LyricalPassionate/F1-九儿-Opera-抒情力量01.wav`. The letter
of a singer's name is the gender. The same name in two languages is taken as the same singer: the paper counts eight in
all, and more than one language for some of them.

Not verified: the set's own description of its files (dsqvival.github.io/singstyle111) was not at hand. The layout is
that of the folder `chinese` as a public script that prepares it for ESPnet expects it; that the folders of the other
languages look the same is an assumption, and what looks different is refused, or counted as left out.
"""

import logging
import re
from pathlib import Path

from singer_verify.corpora.corpus import FEMALE, MALE, Recording
from singer_verify.corpora.names import normalise_name
from singer_verify.corpora.readers import MatchedFiles
from singer_verify.errors import SingerVerifyError

log = logging.getLogger(__name__)

PATH_PATTERN = re.compile(
    r"(?:^|/)(?P<language>[A-Za-z]+)/(?P<singer>(?P<sex>[FM])\d+)-(?P<song>[^/]+)-(?P<genre>[^-/]+)-"
    r"(?P<expression>[^-/]+)/(?P<named_singer>[FM]\d+)-[^/]*\d\.wav$"
)
LANGUAGES = ("chinese", "english", "italian")
GENDERS = {"F": FEMALE, "M": MALE}


def parse_recordings(source: Path, matches: MatchedFiles) -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels.

    Args:
        source: folder of the data set.
        matches: paths of its utterances with their matches of `PATH_PATTERN`.

    Raises:
        SingerVerifyError: the folder above the songs is not a language of the set.
    """
    for path, match in matches:
        if match["language"].lower() not in LANGUAGES:
            raise SingerVerifyError(
                f"{source / path}: songs in a folder {match['language']}; expected one of {', '.join(LANGUAGES)}."
            )
        if match["singer"] != match["named_singer"]:
            log.warning("%s: the name says singer %s; using the singer of the folder.", path, match["named_singer"])
    return [_build_recording(source / path, match) for path, match in matches]


def _build_recording(path: Path, match: re.Match[str]) -> Recording:
    labels = {
        "gender": GENDERS[match["sex"]],
        "song": normalise_name(match["song"]).casefold(),
        "language": match["language"].capitalize(),
        "genre": match["genre"].lower(),
        "expression": match["expression"].lower(),
    }
    return Recording(path, match["singer"], f"{match['language'].lower()}/{path.parent.name}/{path.name}", labels)
