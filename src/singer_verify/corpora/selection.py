"""Which of a data set's utterances are prepared: those with given labels, or equally many of each."""

from collections import defaultdict

import numpy as np

from singer_verify.corpora.recording import Recording
from singer_verify.errors import SingerVerifyError


def keep_labelled(recordings: list[Recording], conditions: tuple[str, ...]) -> list[Recording]:
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
        _require_label(recordings, label, "--keep")
        known = {recording.labels.get(label, "") for recording in recordings}
        values = listed.split(",")
        if unknown := [value for value in values if value not in known]:
            among = ", ".join(sorted(known))
            raise SingerVerifyError(f"--keep {condition}: no {label} is {unknown[0]!r}; expected some of {among}.")
        kept = [recording for recording in kept if recording.labels.get(label, "") in values]
    if not kept:
        raise SingerVerifyError(f"--keep {' --keep '.join(conditions)}: no recording meets all of them.")
    return kept


def balance(recordings: list[Recording], label: str, seed: int = 0) -> list[Recording]:
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
    _require_label(recordings, label, "--balance")
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


def _require_label(recordings: list[Recording], label: str, option: str) -> None:
    known = sorted({name for recording in recordings for name in recording.labels})
    if label not in known:
        raise SingerVerifyError(f"{option} {label}: no such label; expected one of {', '.join(known) or 'none'}.")
