"""Which singers train a model, and which judge it."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from singer_verify.corpora.corpus import SPLITS
from singer_verify.corpora.duplicates import remove_duplicates
from singer_verify.corpora.readers import read_recordings
from singer_verify.corpora.recording import Recording
from singer_verify.errors import SingerVerifyError

MIN_SINGERS_PER_SPLIT = 2  # of a split: one singer has no impostor


def draw_splits(gender_of: dict[str, str], val: float, test: float, seed: int = 0) -> dict[str, str]:
    """Deal singers out to train, val and test at random, so that each split has the whole's mix of genders.

    Args:
        gender_of: each singer's gender, `""` where unknown.
        val: singers of the validation split: their share of all if below 1, else their number.
        test: the same of the test split; 0 makes none.
        seed: of the draw: same singers and seed, same splits.

    Raises:
        SingerVerifyError: a split with fewer than two singers.
    """
    num_singers = len(gender_of)
    sizes = {
        "val": _resolve_split_size("--val", val, num_singers),
        "test": _resolve_split_size("--test", test, num_singers),
    }
    sizes["train"] = num_singers - sizes["val"] - sizes["test"]
    if small := [name for name, size in sizes.items() if size < MIN_SINGERS_PER_SPLIT and (size or name != "test")]:
        raise SingerVerifyError(
            f"--val {val:g} --test {test:g} of {num_singers} singers leave {sizes[small[0]]} for {small[0]}; expected "
            f"at least {MIN_SINGERS_PER_SPLIT} in each."
        )
    generator = np.random.default_rng(seed)
    left = {
        gender: generator.permutation(sorted(name for name in gender_of if gender_of[name] == gender)).tolist()
        for gender in sorted(set(gender_of.values()))
    }
    split_of: dict[str, str] = {}
    for split in ("test", "val"):
        for gender, share in _apportion_by_count(
            sizes[split], {gender: len(names) for gender, names in left.items()}
        ).items():
            split_of |= dict.fromkeys(left[gender][:share], split)
            left[gender] = left[gender][share:]
    return {singer: split_of.get(singer, "train") for singer in sorted(gender_of)}


def read_splits(path: Path, singers: set[str]) -> dict[str, str]:
    """The split of each singer, from a table with the columns `singer` and `split`.

    Raises:
        SingerVerifyError: no such table, an unknown split, or singers that are not those of the corpus.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise SingerVerifyError(f"--splits {path}: cannot be read as a table ({error}).") from error
    if missing := [name for name in ("singer", "split") if name not in table.columns]:
        raise SingerVerifyError(f"--splits {path}: has no column {missing[0]}; expected singer,split.")
    if unknown := sorted(set(table["split"]) - set(SPLITS)):
        raise SingerVerifyError(f"--splits {path}: split {unknown[0]}: expected one of {', '.join(SPLITS)}.")
    if repeated := table["singer"][table["singer"].duplicated()].tolist():
        raise SingerVerifyError(f"--splits {path}: names {repeated[0]} twice; leave one line per singer.")
    named = set(table["singer"])
    if named != singers:
        strays, left_out = (", ".join(sorted(each)) or "none" for each in (named - singers, singers - named))
        raise SingerVerifyError(
            f"--splits {path}: singers that are not in the corpus: {strays}; singers of the corpus that it does not "
            f"name: {left_out}; expected one line for each singer."
        )
    return dict(zip(table["singer"], table["split"], strict=True))


def _resolve_split_size(option: str, value: float, num_singers: int) -> int:
    if not math.isfinite(value) or value < 0 or (value >= 1 and value != round(value)):
        raise SingerVerifyError(f"{option} {value:g}: expected a share below 1, or a number of singers.")
    return round(value * num_singers) if value < 1 else int(value)


def _apportion_by_count(size: int, counts: dict[str, int]) -> dict[str, int]:
    """Parts of `size` in proportion to the counts; what rounding leaves goes to the largest remainders."""
    total = sum(counts.values())
    exact = {name: size * count / total for name, count in counts.items()}
    shares = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(counts, key=lambda name: (shares[name] - exact[name], name))
    for name in by_remainder[: size - sum(shares.values())]:
        shares[name] += 1
    return shares


def filter_by_labels(recordings: list[Recording], conditions: tuple[str, ...]) -> list[Recording]:
    """Keep the recordings that meet all conditions.

    Args:
        recordings: of the data set.
        conditions: each `label=value,value,...`, which is met by one of the values.

    Raises:
        SingerVerifyError: a label or a value that the data set does not have, or nothing is left.
    """
    kept = recordings
    for condition in conditions:
        label, _, listed = condition.partition("=")
        _require_known_label(recordings, label, "--keep")
        known = {recording.labels.get(label, "") for recording in recordings}
        values = listed.split(",")
        if unknown := [value for value in values if value not in known]:
            among = ", ".join(sorted(known))
            raise SingerVerifyError(f"--keep {condition}: no {label} is {unknown[0]!r}; expected some of {among}.")
        kept = [recording for recording in kept if recording.labels.get(label, "") in values]
    if not kept:
        raise SingerVerifyError(f"--keep {' --keep '.join(conditions)}: no recording meets all of them.")
    return kept


def balance_by_label(recordings: list[Recording], label: str, seed: int = 0) -> list[Recording]:
    """Keep equally many recordings of every singer for every value of a label.

    The values are those that every singer has; the number is that of the rarest pair of singer and value. So neither
    the singer nor what is sung can be told from how often it occurs.

    Args:
        recordings: of the data set.
        label: for instance technique.
        seed: of the draw.

    Raises:
        SingerVerifyError: no such label, or no value that all singers have.
    """
    _require_known_label(recordings, label, "--balance")
    cells: dict[tuple[str, str], list[Recording]] = defaultdict(list)
    for recording in recordings:
        cells[recording.singer, recording.labels.get(label, "")].append(recording)
    singers = {singer for singer, _ in cells}
    values = {value for _, value in cells if value}
    shared = sorted(value for value in values if all((singer, value) in cells for singer in singers))
    if not shared:
        raise SingerVerifyError(
            f"--balance {label}: no {label} is sung by all {len(singers)} singers; nothing is left."
        )
    number = min(len(cells[singer, value]) for singer in singers for value in shared)
    generator = np.random.default_rng(seed)
    chosen = set()
    for cell in ((singer, value) for singer in sorted(singers) for value in shared):
        names = sorted(recording.source for recording in cells[cell])
        chosen |= {names[place] for place in generator.permutation(len(names))[:number]}
    return [recording for recording in recordings if recording.source in chosen]


def _require_known_label(recordings: list[Recording], label: str, option: str) -> None:
    known = sorted({name for recording in recordings for name in recording.labels})
    if label not in known:
        raise SingerVerifyError(f"{option} {label}: no such label; expected one of {', '.join(known) or 'none'}.")


DEFAULT_VAL_FRACTION = 0.2


@dataclass(frozen=True)
class SelectionSettings:
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


def select_recordings(
    reader: str, source: Path, settings: dict[str, Any], choices: SelectionSettings
) -> list[Recording]:
    """The utterances of a data set that are prepared, each with its split.

    Raises:
        SingerVerifyError: see `read_recordings`, `filter_by_labels`, `balance`, `remove_duplicates`, `draw_splits` and
            `read_splits`.
    """
    recordings = filter_by_labels(_read_recordings_with_folder_splits(reader, source, settings), choices.keep)
    recordings = remove_duplicates(recordings, choices.drop_duplicates)
    if choices.balance:
        recordings = balance_by_label(recordings, choices.balance, choices.seed)
    return _assign_splits(recordings, choices)


def _read_recordings_with_folder_splits(reader: str, source: Path, settings: dict[str, Any]) -> list[Recording]:
    """With a split where the source's folders are train, val and test."""
    splits = [name for name in SPLITS if (source / name).is_dir()]
    if not splits:
        return read_recordings(reader, source, settings)
    return [
        replace(recording, split=split)
        for split in splits
        for recording in read_recordings(reader, source / split, settings)
    ]


def _assign_splits(recordings: list[Recording], choices: SelectionSettings) -> list[Recording]:
    singers = {recording.singer: recording.labels.get("gender", "") for recording in recordings}
    drawn = choices.val is not None or choices.test is not None
    if choices.splits and drawn:
        raise SingerVerifyError("--splits together with --val or --test: give the one or the other.")
    if choices.splits:
        split_of = read_splits(choices.splits, set(singers))
    elif drawn or not all(recording.split for recording in recordings):
        val = (
            max(MIN_SINGERS_PER_SPLIT, round(DEFAULT_VAL_FRACTION * len(singers)))
            if choices.val is None
            else choices.val
        )
        split_of = draw_splits(singers, val, choices.test or 0, choices.seed)
    else:
        _require_one_split_per_singer(recordings)
        return recordings
    return [replace(recording, split=split_of[recording.singer]) for recording in recordings]


def _require_one_split_per_singer(recordings: list[Recording]) -> None:
    pairs = {(recording.singer, recording.split) for recording in recordings}
    if twice := sorted(name for name, count in Counter(singer for singer, _ in pairs).items() if count > 1):
        raise SingerVerifyError(
            f"{', '.join(twice)}: found in more than one split of the data set; deal the singers out anew with --val, "
            f"or with --splits."
        )
