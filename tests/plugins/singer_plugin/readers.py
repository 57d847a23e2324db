"""A data set with one folder: `<singer>__<song>.flac`."""

import re

from singer_verify.corpora.corpus import Recording


class FlatReader:
    """Singer and song stand in the name; option `prefix`: put before the singer's name."""

    PATH_PATTERN = re.compile(r"^(?P<singer>[a-z]+)__(?P<song>[0-9]+)\.flac$")

    def parse_recordings(self, source, matches, prefix=""):
        return [
            Recording(source / path, prefix + match["singer"], f"{match['song']}.flac", {"song": match["song"]})
            for path, match in matches
        ]
