"""RAVDESS, song and speech (Livingstone & Russo 2018): `<Actor_01>/03-02-04-01-02-01-01.wav`.

A name's fields: modality (03, audio only), vocal channel, emotion, intensity, statement, repetition, actor. Actors with
odd numbers are men. Everyone sings the same two sentences: the statement is the song.
"""

import logging
import re
from pathlib import Path

from singer_verify.corpora.corpus import FEMALE, MALE, SINGING, SPEECH, Recording
from singer_verify.corpora.readers import MatchedFiles

log = logging.getLogger(__name__)

PATH_PATTERN = re.compile(
    r"(?:^|/)(?P<folder>[Aa]ctor_(?P<actor>\d\d))/03-(?P<style>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])-"
    r"(?P<statement>0[12])-(?P<repetition>0[12])-(?P<named_actor>\d\d)\.\w+$"
)
STYLES = {"01": SPEECH, "02": SINGING}
EMOTIONS = dict(
    zip(
        (f"{number:02}" for number in range(1, 9)),
        ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"),
        strict=True,
    )
)
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "kids", "02": "dogs"}  # "Kids are talking by the door", "Dogs are sitting by the door"


def parse_recordings(source: Path, matches: MatchedFiles) -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels."""
    for path, match in matches:
        if match["actor"] != match["named_actor"]:
            log.warning("%s: the name says actor %s; using the actor of the folder.", path, match["named_actor"])
    return [_build_recording(source / path, match) for path, match in matches]


def _build_recording(path: Path, match: re.Match[str]) -> Recording:
    labels = {
        "gender": MALE if int(match["actor"]) % 2 else FEMALE,
        "song": STATEMENTS[match["statement"]],
        "style": STYLES[match["style"]],
        "emotion": EMOTIONS[match["emotion"]],
        "intensity": INTENSITIES[match["intensity"]],
        "repetition": match["repetition"],
    }
    return Recording(path, f"actor_{match['actor']}", path.name, labels)
