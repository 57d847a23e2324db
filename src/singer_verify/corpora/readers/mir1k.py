"""MIR-1K (Hsu & Jang 2010): `Wavfile/<singer>_<song>_<part>.wav`, accompaniment left, voice right.

Song numbers are not shared between singers, so the song label includes the singer's name.
"""

import re
from pathlib import Path

from singer_verify.corpora.corpus import FEMALE, MALE, Recording, VoiceChannel
from singer_verify.corpora.readers import MatchedFiles
from singer_verify.errors import require_between

PATH_PATTERN = re.compile(r"(?:^|/)Wavfile/(?P<singer>[^_/]+)_(?P<song>\d+)_(?P<part>\d+)\.wav$")
ACCOMPANIMENT_CHANNEL, VOICE_CHANNEL = 0, 1
WOMEN = ("amy", "ani", "annar", "ariel", "heycat", "tammy", "titon", "yifen")
MEN = (
    *("abjones", "bobon", "bug", "davidson", "fdps", "geniusturtle", "jmzen", "kenshin", "khair"),
    *("leon", "stool"),
)
GENDER_BY_SINGER = dict.fromkeys(WOMEN, FEMALE) | dict.fromkeys(MEN, MALE)


def parse_recordings(source: Path, matches: MatchedFiles, snr_db: float | None = None) -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels.

    Args:
        source: folder of the data set.
        matches: paths of its utterances with their matches of `PATH_PATTERN`.
        snr_db: voice-to-accompaniment power ratio at which to mix both channels; None uses the voice alone.

    Raises:
        SingerVerifyError: `snr_db` is out of range.
    """
    if snr_db is not None:
        require_between(-60, 60, **{"--snr-db": snr_db})
    voice = VoiceChannel(VOICE_CHANNEL, ACCOMPANIMENT_CHANNEL, snr_db)
    return [_build_recording(source / path, match, voice) for path, match in matches]


def _build_recording(path: Path, match: re.Match[str], voice: VoiceChannel) -> Recording:
    labels = {
        "gender": GENDER_BY_SINGER.get(match["singer"].lower(), ""),
        "song": f"{match['singer']}_{match['song']}",
    }
    return Recording(path, match["singer"], f"{path.stem}.flac", labels, voice_channel=voice)
