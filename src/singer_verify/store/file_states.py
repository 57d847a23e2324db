"""Whether the files of a corpus are those that something was computed from."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from singer_verify.corpora.folder import Utterance
from singer_verify.errors import SingerVerifyError


def file_states(root: Path, utterances: Iterable[Utterance]) -> Iterator[bytes]:
    """Path, size and time of change of each utterance's file, to be hashed.

    Raises:
        SingerVerifyError: one of them cannot be reached, for instance a link to a file that was moved.
    """
    for utterance in utterances:
        path = root / utterance.path
        try:
            status = os.stat(path)
        except OSError as error:
            to_what = f" links to {os.readlink(path)}, which" if path.is_symlink() else ""
            raise SingerVerifyError(
                f"{path}:{to_what} cannot be read ({error.strerror}); bring the file back, delete the name, or prepare "
                f"the corpus again."
            ) from error
        state = f"{utterance.path}\0{status.st_size}\0{status.st_mtime_ns}\n"
        yield state.encode(errors="surrogateescape")
