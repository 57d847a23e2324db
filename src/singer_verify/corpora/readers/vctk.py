"""VCTK (Yamagishi et al.), speech: 0.80 `wav48/<speaker>/*.wav`, 0.92 `wav48_silence_trimmed/<speaker>/*_mic1.flac`.

`speaker-info.txt` holds a line per speaker: `p225  23  F    English    Southern  England`; 0.80 writes `225`.
"""

import re
from pathlib import Path

from singer_verify.corpora.corpus import FEMALE, MALE, SPEECH, Recording
from singer_verify.corpora.readers import MatchedFiles, find_metadata
from singer_verify.errors import require_choice

PATH_PATTERN = re.compile(
    r"(?:^|/)(?:wav48(?:_silence_trimmed)?)/(?P<speaker>[ps]\d+)/(?P=speaker)_\d+(?:_mic(?P<microphone>[12]))?"
    r"\.(?:wav|flac)$"
)
SPEAKER_TABLE_NAME = "speaker-info.txt"
SPEAKER_LINE_PATTERN = re.compile(r"^(?P<speaker>[ps]?\d+)\s+\d+\s+(?P<gender>[FM])\s+(?P<accent>\S+)")
GENDERS = {"F": FEMALE, "M": MALE}


def parse_recordings(source: Path, matches: MatchedFiles, microphone: str = "1") -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels.

    Args:
        source: folder of the data set.
        matches: paths of its utterances with their matches of `PATH_PATTERN`.
        microphone: microphone of version 0.92, 1 or 2; two speakers have no recordings of the second one.

    Raises:
        SingerVerifyError: `microphone` is neither 1 nor 2, or the speaker table is missing.
    """
    require_choice(("1", "2"), **{"--microphone": microphone})
    speakers = _read_speakers(source)
    selected = [(path, match) for path, match in matches if match["microphone"] in (None, microphone)]
    return [_build_recording(source / path, match["speaker"], speakers) for path, match in selected]


def _read_speakers(source: Path) -> dict[str, dict[str, str]]:
    table = find_metadata(source, SPEAKER_TABLE_NAME, "VCTK")
    lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [match for line in lines if (match := SPEAKER_LINE_PATTERN.match(line.strip()))]
    return {
        match["speaker"] if match["speaker"][0] in "ps" else f"p{match['speaker']}": {
            "gender": GENDERS[match["gender"]],
            "accent": match["accent"],
        }
        for match in rows
    }


def _build_recording(path: Path, speaker: str, speakers: dict[str, dict[str, str]]) -> Recording:
    labels = {"gender": "", "accent": ""} | speakers.get(speaker, {}) | {"style": SPEECH}
    return Recording(path, speaker, path.name, labels)
