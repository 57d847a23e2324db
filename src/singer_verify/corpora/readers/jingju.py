"""Jingju a cappella singing (Gong et al. 2018, in three parts), arias of Beijing opera.

A name says role and mode, the first words of the aria, the play, the number of the rendition and where it was recorded:
`lsxp-Wo_ben_shi-Kong_cheng_ji01-nacta.wav` (lao sheng, xi pi). Who sings it:

* part 2 has a folder per artist and day, `20170424SunYuZhu`; the artist is the singer, on whichever day;
* part 1 (`wav/{danAll,laosheng}/`) has both roles in a folder each, and part 3 folders of teachers with recordings
  `teacher` and `student_01` of many children; neither says who is who. For these `--metadata` takes a csv with the
  columns `utterance` and `singer`. The collection of all parts (JaCRC, zenodo.org/record/3251760) has a spreadsheet of
  metadata to make it from.

An aria has the same label whoever sings it. Names shorten plays (`Gui_fei_zui` is `Gui_fei_zui_jiu`) and vary capitals,
so the label is the first three syllables of the aria and of the play: `haidaobing-guifeizui`. A role is not a gender
(women sing lao sheng), so gender is no label; `--labels` adds it.

Names are those in mirdata's index of part 1 (version 7) and in lists of the authors' programs for parts 2 and 3.
Not verified: the names in the collection of all parts and the columns of its spreadsheet, the names of arias of the
role jing, and those of recordings of the accompaniment; a file with `jinghu` in its path is left out.
"""

import re
from pathlib import Path

from singer_verify.corpora.corpus import Recording
from singer_verify.corpora.labels import SINGER_COLUMN, UTTERANCE_COLUMN, read_label_table
from singer_verify.corpora.matching import ABSENT, match_paths
from singer_verify.corpora.readers import MatchedFiles
from singer_verify.errors import SingerVerifyError

PATH_PATTERN = re.compile(
    r"(?:^|/)(?:(?P<session>\d{8,})(?P<artist>[A-Z][A-Za-z]+)/)?"
    r"(?P<role>[a-z]{2})(?P<mode>feh|eh|fxp|xp|gbz|n?bz|spd)[-_](?P<line>[A-Za-z_]+)-(?P<play>[A-Za-z_]+?)"
    r"(?:_?(?:take\d+|first_half|first_line|\d+(?:-\d+)?))?(?:-(?P<place>[a-z_-]+))?(?:-[ST]\d*(?:\(\d+\))?)?"
    r"(?:/(?P<person>teacher|student\w*))?\.(?i:wav)$"
    r"|(?:^|/)(?P<folder>dan|danAll|laosheng)/(?P<joined_play>[a-z]+)_(?P<joined_line>[a-z]+)\.(?i:wav)$"
)
ROLES = {"da": "dan", "dan": "dan", "danAll": "dan", "ls": "laosheng", "laosheng": "laosheng"}
MODES = {
    "bz": "bangzi",
    "eh": "erhuang",
    "feh": "fan erhuang",
    "fxp": "fan xipi",
    "gbz": "gaobozi",
    "nbz": "bangzi",
    "spd": "sipingdiao",
    "xp": "xipi",
}
LINE_CORRECTIONS = {"chuiqiuting": "chunqiuting"}
ACCOMPANIMENT = "jinghu"  # the fiddle
NUM_SYLLABLES = 3


def parse_recordings(source: Path, matches: MatchedFiles, metadata: Path | None = None) -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels.

    Args:
        source: folder of the data set, or of one of its parts.
        matches: paths of its utterances with their matches of `PATH_PATTERN`.
        metadata: table of singers; its rows go before the names of folders.

    Raises:
        SingerVerifyError: the table cannot be used, or neither it nor a folder tells the singer of some recordings.
    """
    selected = [(path, match) for path, match in matches if ACCOMPANIMENT not in path.lower()]
    singers = {path: match["artist"] for path, match in selected if match["artist"] and not match["person"]}
    if metadata is not None:
        singers |= _read_singers(metadata, [path for path, _ in selected])
    if unknown := [path for path, _ in selected if path not in singers]:
        raise SingerVerifyError(
            f"{source}: nothing says who sings {len(unknown)} of {len(selected)} recordings (the first: {unknown[0]}); "
            f"list them with --metadata in a csv with columns {UTTERANCE_COLUMN} and {SINGER_COLUMN}, or give the "
            f"folder of part 2, which has a folder per artist."
        )
    return [_build_recording(source / path, match, singers[path]) for path, match in selected]


def _read_singers(metadata: Path, paths: list[str]) -> dict[str, str]:
    """Return the singers that a table gives, by path."""
    table = read_label_table(metadata, "--metadata ")
    if table.index.name != UTTERANCE_COLUMN or SINGER_COLUMN not in table.columns:
        raise SingerVerifyError(
            f"--metadata {metadata}: has no column {SINGER_COLUMN} beside {UTTERANCE_COLUMN}; expected the singer of "
            f"each recording."
        )
    places = match_paths([str(key) for key in table.index], paths)
    names = [str(name).strip() for name in table[SINGER_COLUMN]]
    return {paths[place]: name for place, name in zip(places, names, strict=True) if place != ABSENT and name}


def _build_recording(path: Path, match: re.Match[str], singer: str) -> Recording:
    if match["folder"]:
        line, play = match["joined_line"], match["joined_play"]
    else:
        line, play = ("".join(match[name].lower().split("_")[:NUM_SYLLABLES]) for name in ("line", "play"))
    labels = {
        "song": f"{LINE_CORRECTIONS.get(line, line)}-{play}",
        "role": ROLES.get(match["role"] or match["folder"], match["role"] or ""),
        "mode": MODES.get(match["mode"] or "", ""),
        "session": match["session"] or "",
        "place": match["place"] or "",
    }
    return Recording(path, singer, match[0].lstrip("/"), labels)
