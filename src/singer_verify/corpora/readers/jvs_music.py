"""JVS-MuSiC (Tamaru et al. 2020), a hundred Japanese singers: `<singer>/song_{common,unique}/wav/<version>.wav`.

Everyone sings the same children's song (`song_common`) and another one (`song_unique`). The common song is there as
sung (`raw`), and twice with tempo and key changed by Melodyne (`modified`, `modified_grouped`). Which song the other
one is, and the gender, stand in `singer_info.txt`, a line per singer below the names of its columns.

The singers are the speakers of the speech corpus JVS (Takamichi et al. 2019), under the same names, `jvs001`. Where
JVS lies in the same folder (`jvs_ver1/<speaker>/<set>/wav24kHz16bit/*.wav`), its speech is read as well.

Not verified: the columns of `singer_info.txt` are those that public scripts read, not seen in the set itself.
"""

import re
from pathlib import Path

from singer_verify.corpora.corpus import FEMALE, MALE, SINGING, SPEECH, Recording
from singer_verify.corpora.names import normalise_name
from singer_verify.corpora.readers import MatchedFiles, find_metadata
from singer_verify.corpora.tables import read_text
from singer_verify.errors import SingerVerifyError, require_choice

PATH_PATTERN = re.compile(
    r"(?:^|/)(?P<singer>jvs\d{3})/(?:song_(?P<song>common|unique)/wav/(?P<version>raw|modified|modified_grouped)"
    r"|(?P<speech>parallel100|nonpara30|whisper10|falset10)/wav[^/]*/(?P<name>[^/]+))\.wav$"
)
VERSIONS = ("raw", "modified", "modified_grouped")
SINGER_TABLE_NAME = "singer_info.txt"
REQUIRED_COLUMNS = ("singer", "gender", "unique_song_name")
GENDERS = {"f": FEMALE, "female": FEMALE, "m": MALE, "male": MALE}
COMMON_SONG = "かたつむり"  # Katatsumuri, the snail
SPEECH_TECHNIQUES = {"whisper10": "whisper", "falset10": "falsetto"}


def parse_recordings(source: Path, matches: MatchedFiles, version: str = "raw") -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels.

    Args:
        source: folder of the data set.
        matches: paths of its utterances with their matches of `PATH_PATTERN`.
        version: version of the songs: `raw`, as sung; `modified` or `modified_grouped`, of the common song only.

    Raises:
        SingerVerifyError: there is no such version, no song, or no table of singers, or the table lacks a singer.
    """
    require_choice(VERSIONS, version=version)
    selected = [(path, match) for path, match in matches if match["speech"] or match["version"] == version]
    if not any(match["song"] for _, match in selected):
        raise SingerVerifyError(
            f"{source}: contains no song in the version {version}; expected the folder jvs_music_ver1, or one that "
            f"holds it."
        )
    singers = _read_singers(find_metadata(source, SINGER_TABLE_NAME, "JVS-MuSiC"))
    if missing := sorted({match["singer"] for _, match in selected} - set(singers)):
        raise SingerVerifyError(
            f"{source}: {SINGER_TABLE_NAME} lacks {len(missing)} singers (the first: {missing[0]}); expected that of "
            f"the complete set."
        )
    return [_build_recording(source / path, match, singers[match["singer"]]) for path, match in selected]


def _read_singers(path: Path) -> dict[str, dict[str, str]]:
    """Return the row of each singer; columns are separated by blanks, and the last one may contain some."""
    lines = read_text(path, "the table of singers").splitlines()
    columns = lines[0].split() if lines else []
    if missing := [name for name in REQUIRED_COLUMNS if name not in columns]:
        raise SingerVerifyError(
            f"{path}: has no column {missing[0]} in its first line; expected {', '.join(REQUIRED_COLUMNS)}."
        )
    rows = [dict(zip(columns, line.split(maxsplit=len(columns) - 1), strict=False)) for line in lines[1:]]
    return {row["singer"]: row for row in rows if "singer" in row}


def _build_recording(path: Path, match: re.Match[str], row: dict[str, str]) -> Recording:
    labels = {"gender": GENDERS.get(row.get("gender", "").lower(), ""), "song": "", "technique": ""}
    if match["speech"]:
        labels |= {"style": SPEECH, "technique": SPEECH_TECHNIQUES.get(match["speech"], "")}
        return Recording(path, match["singer"], f"{match['speech']}/{path.name}", labels)
    unique = normalise_name(row.get("unique_song_name", "").strip())
    labels |= {"style": SINGING, "song": COMMON_SONG if match["song"] == "common" else unique}
    return Recording(path, match["singer"], f"song_{match['song']}_{match['version']}.wav", labels)
