"""Dagstuhl ChoirSet (Rosenzweig et al. 2020): `DCS_<piece>_<setting>_<take>_<singer>_<microphone>.wav`.

A choir of amateurs sings Locus Iste (LI), Tebe Poem (TP) and exercises (SE), all together, in two quartets or the
basses alone; a take named Solo has one singer. Singers are named after voice part and number, S1 to B5; a name is taken
as the same person in all settings (quartet A is S2, A1, T1 and B1). Each has up to three microphones of their own,
which record the same singing: a dynamic one (DYN), a headset (HSM), and a contact microphone on the throat (LRX); not
all have all three, and B5 only the last. The first two hear the neighbours, too. Recordings of the room (STM, STL, STR)
and the piano (SPL, SPR) are of no single singer and are left out.

Names as in mirdata's index of version 1.2.3, which has eleven singers. Their gender was not to be found, and is no
label.
"""

import re
from pathlib import Path

from singer_verify.corpora.corpus import Recording
from singer_verify.corpora.readers import MatchedFiles
from singer_verify.errors import SingerVerifyError, require_choice

PATH_PATTERN = re.compile(
    r"(?:^|/)DCS_(?P<piece>[A-Z]+)_(?P<setting>[A-Za-z]+)_(?P<take>[A-Za-z]+\d*)_"
    r"(?:(?P<singer>(?P<part>[SATB])\d)_(?P<microphone>DYN|HSM|LRX)|\w+_(?:ST[LMR]|SP[LR]))\.wav$"
)
PIECES = {"LI": "Locus Iste", "TP": "Tebe Poem", "SE": ""}
VOICES = {"S": "soprano", "A": "alto", "T": "tenor", "B": "bass"}
MICROPHONES = ("DYN", "HSM", "LRX")
ALL = "all"


def parse_recordings(source: Path, matches: MatchedFiles, microphone: str = "DYN") -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels.

    Args:
        source: folder of the data set.
        matches: paths of its utterances with their matches of `PATH_PATTERN`.
        microphone: DYN, HSM or LRX; or all of them, as different recordings of the same singing.

    Raises:
        SingerVerifyError: `microphone` is none of these or recorded nothing, or a piece has another name.
    """
    require_choice((*MICROPHONES, ALL), **{"--microphone": microphone})
    selected = [
        (path, match) for path, match in matches if match["singer"] and microphone in (match["microphone"], ALL)
    ]
    if not selected:
        raise SingerVerifyError(
            f"{source}: contains no recording of a single singer by the microphone {microphone}; expected names such "
            f"as DCS_LI_FullChoir_Take01_S1_{MICROPHONES[0]}.wav, or another --microphone."
        )
    if unknown := [path for path, match in selected if match["piece"] not in PIECES]:
        raise SingerVerifyError(f"{source / unknown[0]}: unknown piece; expected one of {', '.join(PIECES)}.")
    return [_build_recording(source / path, match) for path, match in selected]


def _build_recording(path: Path, match: re.Match[str]) -> Recording:
    song = PIECES[match["piece"]]
    labels = {
        "song": song,
        "exercise": "" if song else match["take"].rstrip("0123456789").lower(),
        "voice": VOICES[match["part"]],
        "microphone": match["microphone"],
        "setting": match["setting"],
        "take": match["take"],
    }
    return Recording(path, match["singer"], path.name, labels)
