"""NUS-48E (Duan et al. 2013): twelve people sing and read four songs each: `<SINGER>/{sing,read}/<song>.wav`."""

import re
from pathlib import Path

from singer_verify.corpora.corpus import FEMALE, MALE, SINGING, SPEECH, Recording
from singer_verify.corpora.readers import MatchedFiles

PATH_PATTERN = re.compile(r"(?:^|/)(?P<singer>[A-Z]{4})/(?P<style>sing|read)/(?P<song>\d+)\.wav$")
WOMEN = ("ADIZ", "MCUR", "MPOL", "MPUR", "NJAT", "PMAR")
MEN = ("JLEE", "JTAN", "KENN", "SAMF", "VKOW", "ZHIY")
GENDER_BY_SINGER = dict.fromkeys(WOMEN, FEMALE) | dict.fromkeys(MEN, MALE)
STYLES = {"sing": SINGING, "read": SPEECH}


def parse_recordings(source: Path, matches: MatchedFiles) -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels."""
    return [_build_recording(source / path, match) for path, match in matches]


def _build_recording(path: Path, match: re.Match[str]) -> Recording:
    labels = {
        "gender": GENDER_BY_SINGER.get(match["singer"], ""),
        "song": match["song"],
        "style": STYLES[match["style"]],
    }
    return Recording(path, match["singer"], f"{match['style']}/{path.name}", labels)
