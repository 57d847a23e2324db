"""Detection of recordings that occur twice, by what they sound like: see `audio.content`."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from singer_verify.audio.content import MIN_CONTENT_S, NO_CONTENT, compute_content, compute_frames_content
from singer_verify.audio.measures import RecordingMeasures
from singer_verify.corpora.corpus import CORPUS_SEPARATOR, PRECOMPUTED_SUFFIX, Recording
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.logging_once import warn_once
from singer_verify.npz import ARRAY_READ_ERRORS
from singer_verify.worker_processes import count_available_cores

log = logging.getLogger(__name__)
ShowFiles = Callable[[Sequence[Path]], Iterable[Path]]


def remove_duplicates(
    recordings: list[Recording], drop_shared: bool = False, progress: ShowFiles = iter
) -> list[Recording]:
    """Remove recordings that sound the same, in whatever format.

    Of equal recordings of one singer, the one with the shortest name is kept. Equal recordings of two singers are a
    mistake in the data set: the file does not tell who sings, and if the singers end up in different splits, the model
    is evaluated on training data.

    Args:
        recordings: recordings of the data set.
        drop_shared: whether to remove all copies of recordings that two singers share instead of raising an error.
        progress: see `group_equal_recordings`.

    Raises:
        SingerVerifyError: two singers share a recording and `drop_shared` is False.
    """
    dropped: set[Path] = set()
    singers_by_source: dict[Path, set[str]] = defaultdict(set)
    for recording in recordings:
        singers_by_source[recording.source].add(recording.singer)
    equal = group_equal_recordings(singers_by_source, 0.0, progress)  # nothing is trained on yet: be strict
    for copies in equal:
        singers = sorted(set().union(*(singers_by_source[copy] for copy in copies)))
        names = " and ".join(map(str, copies))
        if len(singers) == 1:
            log.warning("%s: the same recording; kept once.", names)
            dropped |= set(copies[1:])
        elif drop_shared:
            log.warning("%s: the same recording under %s; dropped.", names, " and ".join(singers))
            dropped |= set(copies)
        else:
            raise SingerVerifyError(
                f"{names}: the same recording under the singers {' and '.join(singers)}; remove the wrong one, or drop "
                f"all such recordings with --drop-duplicates."
            )
    return [recording for recording in recordings if recording.source not in dropped]


def group_equal_recordings(
    paths: Iterable[Path],
    min_s: float = MIN_CONTENT_S,
    progress: ShowFiles = iter,
) -> Iterator[list[Path]]:
    """Decode files, and yield groups of those that sound the same, the shortest name first.

    Files that cannot be read are in no group.

    Args:
        paths: the files.
        min_s: seconds of sound below which a recording equals no other.
        progress: passes the files on one by one as they are decoded, and shows how many are done.
    """
    listed = list(paths)
    log.info("Comparing the sound of %d recordings.", len(listed))
    by_content: dict[int, list[Path]] = defaultdict(list)
    with ThreadPoolExecutor(count_available_cores()) as pool:
        contents = pool.map(partial(compute_file_content, min_s=min_s), listed)
        for path, content in zip(progress(listed), contents, strict=True):
            by_content[content].append(path)
    for content, copies in by_content.items():
        if content != NO_CONTENT and len(copies) > 1:
            yield sorted(copies, key=lambda copy: (len(copy.name), copy))


def compute_file_content(path: Path, min_s: float = MIN_CONTENT_S) -> int:
    """Compute the identity of a file, `NO_CONTENT` if it cannot be read, which is reported where it is used.

    Args:
        path: audio, or precomputed frames.
        min_s: seconds of sound below which a recording equals no other.
    """
    try:
        if path.suffix.lower() == PRECOMPUTED_SUFFIX:
            return compute_frames_content(np.load(path, allow_pickle=False).astype(np.float32))
        return compute_content(path, min_s)
    except (UtteranceError, *ARRAY_READ_ERRORS):
        return NO_CONTENT


def require_one_singer_per_recording(
    root: Path, paths: Sequence[str], singers: Sequence[str], contents: Sequence[int]
) -> None:
    """Check that no recording is filed under two singers of a split.

    Two corpora that were combined may share a recording: their singers have different names, and whether they are the
    same cannot be known from one recording, so that a warning is logged.

    Args:
        root: folder of the corpus.
        paths: (utterances,), relative to the root.
        singers: (utterances,), singer of each.
        contents: (utterances,), identity of each.

    Raises:
        SingerVerifyError: a recording is filed under two singers; the message names both files.
    """
    first_with: dict[int, tuple[str, str]] = {}
    pairs = [
        (*first, path, singer)
        for path, singer, content in zip(paths, singers, contents, strict=True)
        if content != NO_CONTENT and (first := first_with.setdefault(content, (path, singer)))[1] != singer
    ]
    wrong = [pair for pair in pairs if _get_corpus(pair[1]) == _get_corpus(pair[3])]
    for path, singer, other_path, other_singer in (wrong or pairs)[:1]:
        names = (
            f"{root / path} and {root / other_path}: the same recording under two singers, {singer} and {other_singer}"
        )
        if wrong:
            raise SingerVerifyError(
                f"{names} ({len(wrong)} such pairs in all); only one of them can be right, so delete the wrong file of "
                f"each pair."
            )
        warn_once(
            log, f"{names}, of two corpora ({len(pairs)} such pairs in all); trained on as if they were different."
        )


def _get_corpus(singer: str) -> str:
    return singer.rpartition(CORPUS_SEPARATOR)[0]


class RecordingRegister:
    """Register of the recordings of a split by their sound, filled as they are read one after another.

    Args:
        root: folder of the corpus.
        measures_recordings: whether whoever reads the recordings is to measure them as well.

    Attributes:
        contents: identity of each usable recording that is no copy, by its path.
        copies: for the path of each copy, that of the earlier recording of the same singer that sounds the same.
        measures: measures of the usable recordings that were measured, by path; not of precomputed frames.
    """

    def __init__(self, root: Path, measures_recordings: bool = False) -> None:
        self.root, self.measures_recordings = root, measures_recordings
        self.contents: dict[str, int] = {}
        self.copies: dict[str, str] = {}
        self.measures: dict[str, RecordingMeasures] = {}
        self._singers: dict[str, str] = {}
        self._originals: dict[tuple[str, int], str] = {}

    def add(self, path: str, singer: str, content: int) -> str:
        """Add a recording; return the reason for skipping it if it is a copy of an earlier one, otherwise ""."""
        original = path if content == NO_CONTENT else self._originals.setdefault((singer, content), path)
        if original != path:
            self.copies[path] = original
            return f"{self.root / path}: the same recording as {original}, which is kept."
        self.contents[path], self._singers[path] = content, singer
        return ""

    def require_one_singer_each(self) -> None:
        """Check that no recording is filed under two singers.

        Raises:
            SingerVerifyError: one is; the message names both files.
        """
        paths = list(self.contents)
        singers = [self._singers[path] for path in paths]
        require_one_singer_per_recording(self.root, paths, singers, list(self.contents.values()))


def find_copies(root: Path, singer_by_path: Mapping[str, str], progress: ShowFiles = iter) -> dict[str, str]:
    """Find the utterances that sound like an earlier one of their singer, from files that nobody has decoded yet.

    Args:
        root: folder of the corpus.
        singer_by_path: singer of each utterance, by its path relative to the root.
        progress: see `group_equal_recordings`.

    Returns:
        The path of the earlier utterance by that of the copy.

    Raises:
        SingerVerifyError: a recording is filed under two singers.
    """
    groups = group_equal_recordings([root / path for path in singer_by_path], progress=progress)
    group_by_path = {path: number for number, group in enumerate(groups, 1) for path in group}
    register = RecordingRegister(root)
    for path, singer in singer_by_path.items():
        register.add(path, singer, group_by_path.get(root / path, NO_CONTENT))
    register.require_one_singer_each()
    return register.copies
