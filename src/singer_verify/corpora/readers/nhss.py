"""NHSS, the NUS-HLT speak-sing database (Sharma et al. 2021): `<singer>/<song>/{Song,Speech}/*.wav`.

Ten people, F01 to F05 and M01 to M05, sing and read ten English pop songs each. A song's number means the same song
for everyone (S05 is Hey Jude). `<song>/song.wav` and `<song>/speech.wav` are whole; the folders `Song` and `Speech`
beside them hold the same recordings cut into lines. The person is the singer in both styles: the label `style` tells
them apart.

The layout is taken from the scripts of the singing voice conversion challenge 2023, which read it
(github.com/lesterphillip/SVCC23_FastSVC); these never open `speech.wav`, whose name follows from `song.wav`.
"""

import re
from pathlib import Path

from singer_verify.corpora.corpus import FEMALE, MALE, SINGING, SPEECH, Recording
from singer_verify.corpora.readers import MatchedFiles
from singer_verify.errors import SingerVerifyError

PATH_PATTERN = re.compile(
    r"(?:^|/)(?P<singer>(?P<sex>[FM])\d\d)/(?P<song>S\d\d)/"
    r"(?:(?P<folder>Song|Speech)/[^/]+|(?P<whole>[Ss]ong|[Ss]peech))\.wav$"
)
GENDERS = {"F": FEMALE, "M": MALE}
STYLES = {"song": SINGING, "speech": SPEECH}


def parse_recordings(source: Path, matches: MatchedFiles, whole: object = False) -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels.

    Args:
        source: folder of the data set.
        matches: paths of its utterances with their matches of `PATH_PATTERN`.
        whole: true reads whole songs instead of their lines.

    Raises:
        SingerVerifyError: `whole` is not true or false, or all recordings are of the other kind.
    """
    if not isinstance(whole, bool):
        raise SingerVerifyError(f"--option whole={whole}: expected true or false.")
    selected = [(path, match) for path, match in matches if bool(match["whole"]) is whole]
    if not selected:
        kind = "lines, in folders Song and Speech" if whole else "whole songs"
        raise SingerVerifyError(f"{source}: contains only {kind}; take --option whole={str(not whole).lower()}.")
    return [_build_recording(source / path, match) for path, match in selected]


def _build_recording(path: Path, match: re.Match[str]) -> Recording:
    kind = (match["folder"] or match["whole"]).lower()
    labels = {"gender": GENDERS[match["sex"]], "song": match["song"], "style": STYLES[kind]}
    return Recording(path, match["singer"], f"{match['song']}/{kind}/{path.name}", labels)
