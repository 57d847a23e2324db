"""MIR-1K (Hsu & Jang 2010): `Wavfile/<singer>_<song>_<part>.wav`, accompaniment left, voice right.

A song's number says nothing across singers: it is a label together with the singer's name.
"""

import re
from pathlib import Path

from singer_verify.corpora.readers import Found
from singer_verify.corpora.recording import FEMALE, MALE, Recording, Voice
from singer_verify.errors import require_between

NAMES = re.compile(r"(?:^|/)Wavfile/(?P<singer>[^_/]+)_(?P<song>\d+)_(?P<part>\d+)\.wav$")
ACCOMPANIMENT_CHANNEL, VOICE_CHANNEL = 0, 1
WOMEN = ("amy", "ani", "annar", "ariel", "heycat", "tammy", "titon", "yifen")
MEN = (
    *("abjones", "bobon", "bug", "davidson", "fdps", "geniusturtle", "jmzen", "kenshin", "khair"),
    *("leon", "stool"),
)
GENDER_OF = dict.fromkeys(WOMEN, FEMALE) | dict.fromkeys(MEN, MALE)


def recordings(source: Path, found: Found, snr_db: float | None = None) -> list[Recording]:
    """
    Args:
        source: the folder of the data set.
        found: its utterances.
        snr_db: mix voice and accompaniment at this ratio of powers; None takes the voice alone.

    Raises:
        SingerVerifyError: a ratio out of range.
    """
    if snr_db is not None:
        require_between(-60, 60, **{"--snr-db": snr_db})
    voice = Voice(VOICE_CHANNEL, ACCOMPANIMENT_CHANNEL, snr_db)
    return [_recording(source / path, match, voice) for path, match in found]


def _recording(path: Path, match: re.Match[str], voice: Voice) -> Recording:
    labels = {
        "gender": GENDER_OF.get(match["singer"].lower(), ""),
        "song": f"{match['singer']}_{match['song']}",
    }
    return Recording(path, match["singer"], f"{path.stem}.flac", labels, voice=voice)
