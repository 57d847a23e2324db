"""GTSinger (Zhang et al. 2024): `<language>/<singer>/<technique>/<song>/<group>/<number>.wav`, twenty singers.

A song is sung once with a technique and once without (`Control_Group`), and its words are read (`Paired_Speech_Group`).
Singers are named after language and voice, `EN-Alto-1`. The paper counts twenty singers, and the README of its
repository (github.com/GTSinger/GTSinger) lists twenty names: nobody sings in two languages under two names. The same
title is spelled in capitals in one place and not in another (`my love`, `My Love`, `Heartful_Song`), so song labels
are in lower case. Gender is told from the voice: alto and soprano are women, which a public script that prepares the
set confirms for the Chinese and English singers only.
"""

import re
from pathlib import Path

from singer_verify.corpora.corpus import FEMALE, MALE, SINGING, SPEECH, Recording
from singer_verify.corpora.names import normalise_name
from singer_verify.corpora.readers import MatchedFiles
from singer_verify.errors import SingerVerifyError

PATH_PATTERN = re.compile(
    r"(?:^|/)(?P<singer>(?P<language>[A-Z]{2})-(?P<voice>Alto|Bass|Soprano|Tenor)-\d+)/(?P<technique>[^/]+)/"
    r"(?P<song>[^/]+)/(?P<group>[^/]+)_Group/(?P<number>\d+)\.wav$"
)
LANGUAGES = {
    "DE": "German",
    "EN": "English",
    "ES": "Spanish",
    "FR": "French",
    "IT": "Italian",
    "JA": "Japanese",
    "KO": "Korean",
    "RU": "Russian",
    "ZH": "Chinese",
}
GENDER_BY_VOICE = {"Soprano": FEMALE, "Alto": FEMALE, "Tenor": MALE, "Bass": MALE}
SPEECH_GROUP = "Paired_Speech"
GROUPS = ("Breathy", "Control", "Falsetto", "Glissando", "Mixed_Voice", "Pharyngeal", "Vibrato", SPEECH_GROUP)


def parse_recordings(source: Path, matches: MatchedFiles) -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels.

    Args:
        source: folder of the data set.
        matches: paths of its utterances with their matches of `PATH_PATTERN`.

    Raises:
        SingerVerifyError: a singer of another language, or a group of another name.
    """
    for path, match in matches:
        if match["language"] not in LANGUAGES:
            raise SingerVerifyError(
                f"{source / path}: singer {match['singer']}; expected a language among {', '.join(LANGUAGES)}."
            )
        if match["group"] not in GROUPS:
            groups = ", ".join(f"{group}_Group" for group in GROUPS)
            raise SingerVerifyError(f"{source / path}: folder {match['group']}_Group; expected one of {groups}.")
    return [_build_recording(source / path, match) for path, match in matches]


def _build_recording(path: Path, match: re.Match[str]) -> Recording:
    is_speech = match["group"] == SPEECH_GROUP
    labels = {
        "gender": GENDER_BY_VOICE[match["voice"]],
        "song": normalise_name(match["song"]).casefold().replace("_", " "),
        "style": SPEECH if is_speech else SINGING,
        "technique": "" if is_speech else match["group"].lower(),
        "language": LANGUAGES[match["language"]],
        "voice": match["voice"].lower(),
    }
    name = f"{match['technique']}/{match['song']}/{match['group']}_Group/{path.name}"
    return Recording(path, match["singer"], name, labels)
