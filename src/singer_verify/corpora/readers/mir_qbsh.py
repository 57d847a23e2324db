"""MIR-QBSH (Jang 2006), queries by singing and humming: `waveFile/<year>/<person>/<song>.wav`.

Students of a course sing or hum the beginnings of children's songs for eight seconds. Songs have the numbers of the
MIDI files, the same for everyone. Persons are numbered anew each year (`year2003/person00001`), so the year belongs
to the singer's name. The layout is that of public programs that read the corpus; not found in any description of it
(MIREX wiki, query by singing and humming): whether somebody came back in another year, genders, and which recordings
are hummed.
"""

import re
from pathlib import Path

from singer_verify.corpora.corpus import Recording
from singer_verify.corpora.readers import MatchedFiles

PATH_PATTERN = re.compile(r"(?:^|/)(?P<session>year\d{4})/(?P<person>person\d+)/(?P<song>\d{5})\.wav$")


def parse_recordings(source: Path, matches: MatchedFiles) -> list[Recording]:
    """Return a recording for every matched file, with its singer and labels."""
    return [_build_recording(source / path, match) for path, match in matches]


def _build_recording(path: Path, match: re.Match[str]) -> Recording:
    labels = {"song": match["song"], "session": match["session"]}
    return Recording(path, f"{match['session']}_{match['person']}", path.name, labels)
