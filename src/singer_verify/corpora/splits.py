"""Selection of a data set's recordings and assignment of singers to train, val and test splits."""

import logging
import math
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from singer_verify.corpora.corpus import SPLITS, Recording
from singer_verify.corpora.duplicates import ShowFiles, remove_duplicates
from singer_verify.corpora.folds import FOLD_LABEL, GENDER_LABEL, MIN_FOLDS, MIN_SINGERS_PER_FOLD, assign_folds
from singer_verify.corpora.labels import NUM_NAMED, join_labels, raise_unmatched_labels, read_label_table
from singer_verify.corpora.names import normalise_name
from singer_verify.corpora.readers import list_reader_names, read_recordings
from singer_verify.corpora.tables import read_table
from singer_verify.errors import SingerVerifyError, require_at_least

log = logging.getLogger(__name__)
MIN_SINGERS_PER_SPLIT = 2  # non-target trials need two
DEFAULT_VAL_FRACTION = 0.2
SONG_LABEL = "song"
MIN_CATALOGUE_NUMBER = 100  # from which the number of a song is taken for that of a list that all singers share


def draw_splits(gender_by_singer: dict[str, str], val: float, test: float, seed: int = 0) -> dict[str, str]:
    """Assign singers to train, val and test at random, with the same proportion of genders in each split.

    Args:
        gender_by_singer: gender of each singer, `""` where unknown.
        val: size of the validation split: a fraction of the singers if below 1, otherwise their number.
        test: size of the test split, likewise; 0 for no test split.
        seed: random seed of the draw; the same singers and seed give the same splits.

    Returns:
        The split of each singer.

    Raises:
        SingerVerifyError: a split would have fewer than two singers.
    """
    num_singers = len(gender_by_singer)
    sizes = {
        "val": _resolve_split_size("--val", val, num_singers),
        "test": _resolve_split_size("--test", test, num_singers),
    }
    sizes["train"] = num_singers - sizes["val"] - sizes["test"]
    if small := [name for name, size in sizes.items() if size < MIN_SINGERS_PER_SPLIT and (size or name != "test")]:
        raise SingerVerifyError(
            f"--val {val:g} --test {test:g} of {num_singers} singers leaves {sizes[small[0]]} for {small[0]}; expected "
            f"at least {MIN_SINGERS_PER_SPLIT} in each split."
        )
    generator = np.random.default_rng(seed)
    remaining: dict[str, list[str]] = {}
    for gender in sorted(set(gender_by_singer.values())):
        singers = sorted(singer for singer in gender_by_singer if gender_by_singer[singer] == gender)
        remaining[gender] = generator.permutation(singers).tolist()
    split_by_singer: dict[str, str] = {}
    for split in ("test", "val"):
        counts = {gender: len(names) for gender, names in remaining.items()}
        for gender, share in _apportion_by_count(sizes[split], counts).items():
            split_by_singer |= dict.fromkeys(remaining[gender][:share], split)
            remaining[gender] = remaining[gender][share:]
    return {singer: split_by_singer.get(singer, "train") for singer in sorted(gender_by_singer)}


def read_splits(path: Path, singers: set[str]) -> dict[str, str]:
    """Read the split of each singer from a table with the columns `singer` and `split`.

    Raises:
        SingerVerifyError: the table cannot be read, has an unknown split, or its singers are not those of the corpus.
    """
    table = read_table(path, "--splits ", ("singer", "split"))
    if missing := [name for name in ("singer", "split") if name not in table.columns]:
        raise SingerVerifyError(f"--splits {path}: has no column {missing[0]}; expected singer,split.")
    table["singer"] = [normalise_name(name.strip()) for name in table["singer"]]
    table["split"] = [name.strip().lower() for name in table["split"]]
    table = table[["singer", "split"]].drop_duplicates()  # a row per utterance is as good
    if unknown := sorted(set(table["split"]) - set(SPLITS)):
        raise SingerVerifyError(f"--splits {path}: unknown split {unknown[0]}; expected one of {', '.join(SPLITS)}.")
    if repeated := table["singer"][table["singer"].duplicated()].tolist():
        raise SingerVerifyError(f"--splits {path}: lists {repeated[0]} twice; expected one line per singer.")
    named = set(table["singer"])
    if named != singers:
        extra, absent = (", ".join(sorted(names)) or "none" for names in (named - singers, singers - named))
        raise SingerVerifyError(
            f"--splits {path}: singers not in the corpus: {extra}; singers of the corpus not listed: {absent}; "
            f"expected one line per singer."
        )
    return dict(zip(table["singer"], table["split"], strict=True))


def _resolve_split_size(option: str, value: float, num_singers: int) -> int:
    if not math.isfinite(value) or value < 0 or (value >= 1 and value != round(value)):
        raise SingerVerifyError(f"{option} {value:g}: expected a fraction below 1 or a number of singers.")
    return round(value * num_singers) if value < 1 else int(value)


def _apportion_by_count(size: int, counts: dict[str, int]) -> dict[str, int]:
    """Divide `size` in proportion to the counts, by the largest remainder method."""
    total = sum(counts.values())
    exact = {name: size * count / total for name, count in counts.items()}
    shares = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(counts, key=lambda name: (shares[name] - exact[name], name))
    for name in by_remainder[: size - sum(shares.values())]:
        shares[name] += 1
    return shares


def filter_by_labels(recordings: list[Recording], conditions: tuple[str, ...]) -> list[Recording]:
    """Keep the recordings that satisfy all conditions.

    Args:
        recordings: recordings of the data set.
        conditions: each `label=value,value,...`, satisfied by any of the values.

    Raises:
        SingerVerifyError: the data set lacks a label or value, or no recording is left.
    """
    selected = recordings
    for condition in conditions:
        label, _, listed = normalise_name(condition).partition("=")
        _require_known_label(recordings, label, "--keep")
        existing = {recording.labels.get(label, "") for recording in recordings}
        values = listed.split(",")
        if unknown := [value for value in values if value not in existing]:
            among = ", ".join(sorted(existing))
            raise SingerVerifyError(f"--keep {condition}: no {label} is {unknown[0]!r}; expected values among {among}.")
        selected = [recording for recording in selected if recording.labels.get(label, "") in values]
    if not selected:
        raise SingerVerifyError(
            f"--keep {' --keep '.join(conditions)}: no recording satisfies all conditions; relax one of them."
        )
    return selected


def balance_by_label(recordings: list[Recording], label: str, seed: int = 0) -> list[Recording]:
    """Keep equally many recordings of every singer for every value of a label.

    The values are those that every singer has; the number is that of the rarest combination of singer and value. Then
    neither singer nor content can be inferred from how often it occurs.

    Args:
        recordings: recordings of the data set.
        label: name of the label, for example technique.
        seed: random seed of the draw.

    Raises:
        SingerVerifyError: the label does not exist, or no value is shared by all singers.
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
            f"--balance {label}: no {label} is shared by all {len(singers)} singers; choose another label."
        )
    num_per_pair = min(len(cells[singer, value]) for singer in singers for value in shared)
    generator = np.random.default_rng(seed)
    chosen = set()
    for cell in ((singer, value) for singer in sorted(singers) for value in shared):
        names = sorted(recording.source for recording in cells[cell])
        chosen |= {names[index] for index in generator.permutation(len(names))[:num_per_pair]}
    return [recording for recording in recordings if recording.source in chosen]


def _require_known_label(recordings: list[Recording], label: str, option: str) -> None:
    existing = sorted({name for recording in recordings for name in recording.labels})
    if label not in existing:
        raise SingerVerifyError(f"{option} {label}: no such label; expected one of {', '.join(existing) or 'none'}.")


@dataclass(frozen=True)
class SelectionSettings:
    """Which recordings a corpus consists of, and how they are split.

    Attributes:
        keep: conditions `label=value,value,...` that recordings must satisfy.
        balance: label for which every singer gets equally many recordings of each value.
        drop_duplicates: whether to drop recordings shared by two singers instead of raising an error.
        splits: table of singers and their splits.
        val: fraction or number of singers in the validation split; None uses the data set's own split, or a fifth.
        test: likewise for the test split; None uses the data set's own split, or none.
        seed: random seed of all draws.
        labels: table of labels of utterances or singers, added to those that the reader knows.
        folds: number of folds that the label `fold` divides the singers into; None gives no such label.
    """

    keep: tuple[str, ...] = ()
    balance: str | None = None
    drop_duplicates: bool = False
    splits: Path | None = None
    val: float | None = None
    test: float | None = None
    seed: int = 0
    labels: Path | None = None
    folds: int | None = None


def select_recordings(
    reader: str, source: Path, settings: dict[str, Any], selection: SelectionSettings, progress: ShowFiles = iter
) -> list[Recording]:
    """Read a data set, and return the selected recordings with their splits.

    Args:
        reader: name of the reader.
        source: folder of the data set.
        settings: options of the reader.
        selection: which recordings to keep and how to split them.
        progress: shows how many of the files have been compared, see `group_equal_recordings`.

    Raises:
        SingerVerifyError: see `read_recordings`, `read_label_table`, `filter_by_labels`, `balance_by_label`,
            `remove_duplicates`, `draw_splits` and `read_splits`.
    """
    recordings = _read_recordings_with_folder_splits(reader, source, settings)
    read_songs = [recording.labels.get(SONG_LABEL, "") for recording in recordings]
    if selection.labels is not None:
        recordings = _add_labels(recordings, selection.labels, source)
    songs = [recording.labels.get(SONG_LABEL, "") for recording in recordings]
    if songs != read_songs or reader == "folder" or reader not in list_reader_names():  # ours know what numbers mean
        _warn_of_bare_song_numbers([recording.singer for recording in recordings], songs)
    recordings = filter_by_labels(recordings, selection.keep)
    recordings = remove_duplicates(recordings, selection.drop_duplicates, progress)
    if selection.balance:
        recordings = balance_by_label(recordings, selection.balance, selection.seed)
    recordings = _assign_splits(recordings, selection)
    return recordings if selection.folds is None else add_fold_labels(recordings, selection.folds)


def _warn_of_bare_song_numbers(singers: list[str], songs: list[str]) -> None:
    """Warn where songs are small numbers that most singers share: they may be numbered anew for each singer."""
    singers_by_song: dict[str, set[str]] = defaultdict(set)
    for singer, song in zip(singers, songs, strict=True):
        if song:
            singers_by_song[song].add(singer)
    num_shared = sum(len(names) > 1 for names in singers_by_song.values())
    is_numbered = all(song.isdecimal() and int(song) < MIN_CATALOGUE_NUMBER for song in singers_by_song)
    if is_numbered and 2 * num_shared > len(singers_by_song):
        first = min(singers_by_song, key=int)
        log.warning(
            "song: %d of its %d values are numbers that several singers have; values are compared across singers: "
            "write %s-%s where song %s of another singer is another song.",
            *(num_shared, len(singers_by_song), min(singers_by_song[first]), first, first),
        )


def add_fold_labels(recordings: list[Recording], num_folds: int) -> list[Recording]:
    """Return the recordings with the label `fold`, see `folds.assign_folds`; singers are balanced by their gender.

    Raises:
        SingerVerifyError: too few singers, or the recordings have that label.
    """
    require_at_least(MIN_FOLDS, **{"--folds": num_folds})
    if any(FOLD_LABEL in recording.labels for recording in recordings):
        raise SingerVerifyError(f"--folds {num_folds}: the recordings have a label {FOLD_LABEL} of their own.")
    num_utterances = Counter(recording.singer for recording in recordings)
    if len(num_utterances) < num_folds * MIN_SINGERS_PER_FOLD:
        raise SingerVerifyError(
            f"--folds {num_folds}: expected at least {num_folds * MIN_SINGERS_PER_FOLD} singers, "
            f"{MIN_SINGERS_PER_FOLD} in each fold; found {len(num_utterances)}."
        )
    genders = {recording.singer: recording.labels.get(GENDER_LABEL, "") for recording in recordings}
    folds = assign_folds(num_utterances, genders, num_folds)
    return [
        replace(recording, labels=recording.labels | {FOLD_LABEL: str(folds[recording.singer])})
        for recording in recordings
    ]


def _read_recordings_with_folder_splits(reader: str, source: Path, settings: dict[str, Any]) -> list[Recording]:
    """Read the recordings, with their splits if the source's folders are train, val and test."""
    splits = [name for name in SPLITS if (source / name).is_dir()]
    recordings = [
        replace(recording, split=split)
        for split in splits
        for recording in read_recordings(reader, source / split, settings)
    ]
    return [
        replace(recording, singer=normalise_name(recording.singer))
        for recording in recordings or read_recordings(reader, source, settings)
    ]


def _add_labels(recordings: list[Recording], path: Path, source: Path) -> list[Recording]:
    """Add the labels of a table of utterances or singers; what does not match is logged.

    Raises:
        SingerVerifyError: not such a table, or none of its rows is for any recording.
    """
    table, name = read_label_table(path, "--labels "), f"--labels {path}"
    files = [Path(os.path.relpath(recording.source, source)).as_posix() for recording in recordings]
    # As in a corpus, whose splits are above the singers; the table may name the source's folder too.
    above = "" if recordings[0].split else f"{source.resolve().name}/"
    paths = [f"{above}{file}" for file in files]
    joined = join_labels(table, paths, [recording.singer for recording in recordings], name)
    if not joined.is_found.any():
        raise_unmatched_labels(table, name, files, recordings[0].singer, str(source))
    if joined.unused:
        more = ", …" * (len(joined.unused) > NUM_NAMED)
        log.warning(
            "%s: %d of its %d rows are for no recording (%s%s).",
            *(name, len(joined.unused), len(table), ", ".join(joined.unused[:NUM_NAMED]), more),
        )
    rows = joined.values.to_dict("records")
    return [
        replace(recording, labels=recording.labels | {str(label): value for label, value in row.items()})
        for recording, row in zip(recordings, rows, strict=True)
    ]


def _assign_splits(recordings: list[Recording], selection: SelectionSettings) -> list[Recording]:
    singers = {recording.singer: recording.labels.get("gender", "") for recording in recordings}
    is_drawn = selection.val is not None or selection.test is not None
    if selection.splits and is_drawn:
        raise SingerVerifyError("--splits cannot be combined with --val or --test; give one or the other.")
    if selection.splits:
        split_by_singer = read_splits(selection.splits, set(singers))
    elif is_drawn or not all(recording.split for recording in recordings):
        val = (
            max(MIN_SINGERS_PER_SPLIT, round(DEFAULT_VAL_FRACTION * len(singers)))
            if selection.val is None
            else selection.val
        )
        split_by_singer = draw_splits(singers, val, selection.test or 0, selection.seed)
    else:
        _require_one_split_per_singer(recordings)
        return recordings
    return [replace(recording, split=split_by_singer[recording.singer]) for recording in recordings]


def _require_one_split_per_singer(recordings: list[Recording]) -> None:
    pairs = {(recording.singer, recording.split) for recording in recordings}
    if ambiguous := sorted(name for name, count in Counter(singer for singer, _ in pairs).items() if count > 1):
        raise SingerVerifyError(
            f"{', '.join(ambiguous)}: in more than one split of the data set; assign the singers anew with --val or "
            f"--splits."
        )
