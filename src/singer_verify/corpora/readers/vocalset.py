"""VocalSet 1.0 to 1.2 (Wilkins et al. 2018): 20 singers × exercises × techniques × vowels.

Version 1.2 holds everything several times, arranged in different ways: of these, `FULL` or `data_by_singer` is read.
The folder is the singer: over a hundred names lack the prefix (`f4_`), and `m9_caro_vibrato.wav` lies under `male8`.
"""

import logging
import re
from pathlib import Path

from singer_verify.corpora.readers import MatchedFiles
from singer_verify.corpora.recording import FEMALE, MALE, Recording
from singer_verify.corpora.singer_names import parse_vocalset_singer
from singer_verify.errors import SingerVerifyError

log = logging.getLogger(__name__)

PATH_PATTERN = re.compile(
    r"(?P<place>^|^.*/)(?P<singer>(?:fe)?male\d+)/(?P<exercise>arpeggios|excerpts|long_tones|scales)/"
    r"(?P<technique>[^/]+)/(?P<name>[^/]+)\.wav$"
    r"|(?:^|/)data_by_(?:technique|vowel)/.+\.wav$"
)
LAYOUTS = ("FULL", "data_by_singer")
TECHNIQUE_CORRECTIONS = {"vibrado": "vibrato"}
SONGS = ("caro", "dona", "row")  # the excerpts: Caro mio ben, Dona nobis pacem, Row row row your boat


def parse_recordings(source: Path, found: MatchedFiles) -> list[Recording]:
    kept = _select_layout(source, [(path, match) for path, match in found if match["singer"]])
    result = [_build_recording(source / path, match) for path, match in kept]
    told = [parse_vocalset_singer(match["name"]) for _, match in kept]
    for (path, match), singer in zip(kept, told, strict=True):
        if singer not in (None, match["singer"]):
            log.warning("%s: named after another singer; the folder decides: %s.", path, match["singer"])
    if unnamed := told.count(None):
        log.info("%d names lack the singer; the folder decides.", unnamed)
    return result


def _select_layout(source: Path, found: MatchedFiles) -> MatchedFiles:
    places = sorted({match["place"] for _, match in found}, key=_rank_layout)
    if not places:
        raise SingerVerifyError(
            f"{source}: holds VocalSet by technique or vowel only, where some names do not tell the singer; expected "
            f"its folder FULL or data_by_singer."
        )
    return [(path, match) for path, match in found if match["place"] == places[0]]


def _rank_layout(place: str) -> tuple[int, str]:
    last = place.rstrip("/").rpartition("/")[2]
    return (LAYOUTS.index(last) if last in LAYOUTS else len(LAYOUTS)), place


def _build_recording(path: Path, match: re.Match[str]) -> Recording:
    words = re.sub(r"\(\d+\)$", "", match["name"]).lower().split("_")
    technique = match["technique"].lower()
    labels = {
        "gender": FEMALE if match["singer"].startswith("female") else MALE,
        "song": next((word for word in words if word in SONGS), ""),
        "exercise": match["exercise"],
        "technique": TECHNIQUE_CORRECTIONS.get(technique, technique),
        "vowel": words[-1] if words[-1] in tuple("aeiou") else "",
    }
    name = f"{match['exercise']}/{match['technique']}/{path.name}"
    return Recording(path, match["singer"], name, labels)
