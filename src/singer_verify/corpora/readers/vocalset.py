"""VocalSet 1.0 to 1.2 (Wilkins et al. 2018): 20 singers × exercises × techniques × vowels.

Version 1.2 contains every file several times in different layouts; only `FULL` or `data_by_singer` is read. The singer
is taken from the folder: over a hundred names lack the prefix (`f4_`), and `m9_caro_vibrato.wav` lies under `male8`.
"""

import logging
import re
from pathlib import Path

from singer_verify.corpora.corpus import FEMALE, MALE, Recording, parse_vocalset_singer
from singer_verify.corpora.readers import MatchedFiles
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


def parse_recordings(source: Path, matches: MatchedFiles) -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels."""
    selected = _select_layout(source, [(path, match) for path, match in matches if match["singer"]])
    result = [_build_recording(source / path, match) for path, match in selected]
    named_singers = [parse_vocalset_singer(match["name"]) for _, match in selected]
    for (path, match), singer in zip(selected, named_singers, strict=True):
        if singer not in (None, match["singer"]):
            log.warning("%s: the name says another singer; using the folder: %s.", path, match["singer"])
    if unnamed := named_singers.count(None):
        log.info("%d file names lack the singer; using the folder.", unnamed)
    return result


def _select_layout(source: Path, matches: MatchedFiles) -> MatchedFiles:
    places = sorted({match["place"] for _, match in matches}, key=_rank_layout)
    if not places:
        raise SingerVerifyError(
            f"{source}: contains VocalSet sorted by technique or vowel only, where some names lack the singer; "
            f"expected its folder FULL or data_by_singer."
        )
    return [(path, match) for path, match in matches if match["place"] == places[0]]


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
