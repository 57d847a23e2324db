"""Which utterances of a data set a corpus gets, and in which split."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from singer_verify.corpora.duplicates import without_duplicates
from singer_verify.corpora.folder import SPLITS
from singer_verify.corpora.readers import read_recordings
from singer_verify.corpora.recording import Recording
from singer_verify.corpora.selection import balance, keep_labelled
from singer_verify.corpora.splitting import LEAST_SINGERS, draw_splits, read_splits
from singer_verify.errors import SingerVerifyError

DEFAULT_VAL = 0.2


@dataclass(frozen=True)
class Choices:
    """Which utterances a corpus gets, and in which split.

    Attributes:
        keep: `label=value,value,...` that utterances must have, all of them.
        balance: label of which every singer gets equally many of each value.
        drop_duplicates: leave out recordings that two singers share, instead of refusing them.
        splits: table of singers and their splits.
        val: share or number of singers of the validation split; None, as the data set says, or a fifth.
        test: the same of the test split; None, as the data set says, or none.
        seed: of all draws.
    """

    keep: tuple[str, ...] = ()
    balance: str | None = None
    drop_duplicates: bool = False
    splits: Path | None = None
    val: float | None = None
    test: float | None = None
    seed: int = 0


def choose(reader: str, source: Path, settings: dict[str, Any], choices: Choices) -> list[Recording]:
    """The utterances of a data set that are prepared, each with its split.

    Raises:
        SingerVerifyError: see `read_recordings`, `keep_labelled`, `balance`, `without_duplicates`, `draw_splits` and
            `read_splits`.
    """
    recordings = keep_labelled(_read(reader, source, settings), choices.keep)
    recordings = without_duplicates(recordings, choices.drop_duplicates)
    if choices.balance:
        recordings = balance(recordings, choices.balance, choices.seed)
    return _with_splits(recordings, choices)


def _read(reader: str, source: Path, settings: dict[str, Any]) -> list[Recording]:
    """With a split where the source's folders are train, val and test."""
    splits = [name for name in SPLITS if (source / name).is_dir()]
    if not splits:
        return read_recordings(reader, source, settings)
    return [
        replace(recording, split=split)
        for split in splits
        for recording in read_recordings(reader, source / split, settings)
    ]


def _with_splits(recordings: list[Recording], choices: Choices) -> list[Recording]:
    singers = {recording.singer: recording.labels.get("gender", "") for recording in recordings}
    drawn = choices.val is not None or choices.test is not None
    if choices.splits and drawn:
        raise SingerVerifyError("--splits together with --val or --test: give the one or the other.")
    if choices.splits:
        split_of = read_splits(choices.splits, set(singers))
    elif drawn or not all(recording.split for recording in recordings):
        val = max(LEAST_SINGERS, round(DEFAULT_VAL * len(singers))) if choices.val is None else choices.val
        split_of = draw_splits(singers, val, choices.test or 0, choices.seed)
    else:
        _require_one_split(recordings)
        return recordings
    return [replace(recording, split=split_of[recording.singer]) for recording in recordings]


def _require_one_split(recordings: list[Recording]) -> None:
    pairs = {(recording.singer, recording.split) for recording in recordings}
    if twice := sorted(name for name, count in Counter(singer for singer, _ in pairs).items() if count > 1):
        raise SingerVerifyError(
            f"{', '.join(twice)}: found in more than one split of the data set; deal the singers out anew with --val, "
            f"or with --splits."
        )
