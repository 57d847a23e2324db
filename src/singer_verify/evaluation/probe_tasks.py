"""What a linear probe predicts, a label or the singer, and what its train and test may not share."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Num

from singer_verify.errors import SingerVerifyError, format_names
from singer_verify.evaluation.conditions import UNKNOWN

SINGER = "singer"
RECORDING = "recording"  # what train and test of a probe of the singer do not share where songs are unknown
MIN_DIFFERENT_NUMBERS = 20  # a label with fewer different numbers is one of classes
MIN_SINGERS_OF_NUMBERS = 4  # two on either side of two folds


@dataclass(frozen=True)
class ProbeTask:
    """A label to be predicted, and what train and test may not share.

    Attributes:
        label: name of the label; `singer` for the singer himself.
        rows: (kept,), numbers of the utterances with a value that can be probed.
        targets: (kept,), number of each utterance's class, or the label's value if it is a number.
        units: (kept,), number of the singer, song or recording that is either in train or in test.
        singer_index: (kept,), number of the singer of each.
        classes: names of the classes; empty for a number.
        disjoint: what train and test do not share, for instance "singer".
        left_out: values that occur in one unit only, and are therefore in train or in test, but not in both.
        num_unknown: number of utterances whose value is unknown.
        spaces: (kept,), number of the model whose embedding each utterance has, where several models embed a part each
            (folds): a probe learns and is tested within one of them. Empty for one model.
    """

    label: str
    rows: Int[np.ndarray, " kept"]
    targets: Num[np.ndarray, " kept"]
    units: Int[np.ndarray, " kept"]
    singer_index: Int[np.ndarray, " kept"]
    classes: tuple[str, ...]
    disjoint: str = SINGER
    left_out: tuple[str, ...] = ()
    num_unknown: int = 0
    spaces: Int[np.ndarray, " _"] = field(default_factory=lambda: np.zeros(0, np.int64))

    def list_space_rows(self) -> list[Int[np.ndarray, " _"]]:
        """List which of the kept utterances each model embeds."""
        if not len(self.spaces):
            return [np.arange(len(self.rows))]
        return [np.flatnonzero(self.spaces == space) for space in np.unique(self.spaces)]

    @property
    def is_number(self) -> bool:
        """Whether a number is predicted, not a class."""
        return not self.classes

    @property
    def num_singers(self) -> int:
        """Number of singers whose utterances are probed."""
        return len(np.unique(self.singer_index))

    @property
    def chance(self) -> float:
        """Score of a probe that knows nothing: a mean recall of 1 / classes, or an R² of 0; over folds, their mean."""
        if self.is_number:
            return 0.0
        parts = [self.targets[rows] for rows in self.list_space_rows()]
        return float(sum(len(part) / len(np.unique(part)) for part in parts) / len(self.targets))

    @property
    def majority(self) -> float | None:
        """Share of the most frequent class, the accuracy of always answering it; None for a number."""
        return None if self.is_number else float(np.bincount(self.targets).max() / len(self.targets))


def plan_label_task(
    label: str,
    values: np.ndarray,
    singer_index: np.ndarray,
    is_number: bool | None = None,
    spaces: np.ndarray | None = None,
) -> ProbeTask:
    """Choose what a probe of a label predicts, over singers.

    Args:
        label: name of the label.
        values: (utterances,), strings, `""` where unknown; or floats, NaN where unknown.
        singer_index: (utterances,), number of each singer.
        is_number: whether the value is a number; None finds out, see `has_many_numbers`.
        spaces: (utterances,), number of the model that embeds each; None for one model.

    Raises:
        SingerVerifyError: fewer than two values are sung by two singers, or a number is asked for and is none.
    """
    numbers = parse_numbers(values)
    if is_number and numbers is None:
        strange = next(str(value) for value in values if value != UNKNOWN and not _is_number(value))
        raise SingerVerifyError(f"label {label}: has the value {strange}; expected numbers, as --numbers asks for.")
    if is_number is None:
        is_number = numbers is not None and has_many_numbers(values)
    if is_number:
        assert numbers is not None
        return _plan_number_task(label, numbers, singer_index, spaces)
    texts = np.array([UNKNOWN if value != value else str(value) for value in values.tolist()], object)
    return _plan_class_task(label, texts, singer_index, singer_index, SINGER, spaces)


def plan_singer_task(
    singers: Sequence[str],
    singer_index: np.ndarray,
    disjoint: str,
    units: np.ndarray | None,
    spaces: np.ndarray | None = None,
) -> ProbeTask:
    """Choose what a probe of the singer predicts, over songs or recordings.

    Args:
        singers: names of the singers.
        singer_index: (utterances,), number of each utterance's singer.
        disjoint: what the units are, for instance "song".
        units: (utterances,), song of each utterance, `""` where unknown; None takes each recording by itself.
        spaces: (utterances,), number of the model that embeds each; None for one model.

    Raises:
        SingerVerifyError: fewer than two singers sing two songs.
    """
    names = np.array(singers, object)[singer_index]
    if units is None:
        return _plan_class_task(SINGER, names, np.arange(len(names)), singer_index, disjoint, spaces)
    codes, _ = pd.factorize(np.where(units == UNKNOWN, None, units))  # type: ignore[call-overload]
    names = np.where(codes >= 0, names, UNKNOWN)
    return _plan_class_task(SINGER, names, codes, singer_index, disjoint, spaces)


def _plan_number_task(
    label: str, numbers: np.ndarray, singer_index: np.ndarray, spaces: np.ndarray | None
) -> ProbeTask:
    rows = np.flatnonzero(np.isfinite(numbers))
    if spaces is not None:
        num_singers = pd.Series(singer_index[rows]).groupby(spaces[rows]).nunique()
        rows = rows[np.isin(spaces[rows], num_singers.index[num_singers >= 2])]
    units = singer_index[rows].astype(np.int64)
    if len(np.unique(units)) < MIN_SINGERS_OF_NUMBERS:
        raise SingerVerifyError(
            f"label {label}: is known for {len(np.unique(units))} singers; a probe of numbers, tested on other singers "
            f"than it was fitted to, needs at least {MIN_SINGERS_OF_NUMBERS}."
        )
    if np.ptp(numbers[rows]) == 0.0:
        raise SingerVerifyError(f"label {label}: is {numbers[rows[0]]:g} everywhere; expected at least 2 values.")
    task = ProbeTask(label, rows, numbers[rows], units, units, (), num_unknown=int(np.isnan(numbers).sum()))
    return task if spaces is None else replace(task, spaces=spaces[rows].astype(np.int64))


def _plan_class_task(
    label: str,
    values: np.ndarray,
    units: np.ndarray,
    singer_index: np.ndarray,
    disjoint: str,
    spaces: np.ndarray | None,
) -> ProbeTask:
    """Keep the classes that occur in two units of a model's part, so that each can be in train and in test."""
    table = pd.DataFrame({"value": values, "unit": units, "space": 0 if spaces is None else spaces})
    known = table[table["value"] != UNKNOWN]
    num_units = known.groupby(["space", "value"])["unit"].transform("nunique")
    shared = known[num_units >= 2]
    num_classes = shared.groupby("space")["value"].transform("nunique")
    kept = shared[num_classes >= 2] if spaces is not None else shared
    classes = sorted(map(str, kept["value"].unique()))
    alone = sorted(set(map(str, known["value"].unique())) - set(classes))
    if len(classes) < 2:
        raise SingerVerifyError(_explain_refusal(label, classes, alone, disjoint))
    rows = kept.index.to_numpy(np.int64)
    return ProbeTask(
        label,
        rows,
        np.searchsorted(classes, kept["value"].to_numpy(str)).astype(np.int64),
        *(units[rows].astype(np.int64), singer_index[rows].astype(np.int64), tuple(classes), disjoint),
        left_out=tuple(alone),
        num_unknown=len(table) - len(known),
        spaces=np.zeros(0, np.int64) if spaces is None else spaces[rows].astype(np.int64),
    )


def _explain_refusal(label: str, classes: list[str], alone: list[str], disjoint: str) -> str:
    """Say why a label cannot be probed: fewer than two of its values occur in two units."""
    values = [*classes, *alone]
    if label == SINGER:
        return (
            f"label {SINGER}: {len(classes)} of {len(values)} singers have at least 2 {disjoint}s, one to learn from "
            f"and one to be tested on; expected at least 2 such singers."
        )
    if not values:
        return f"label {label}: is unknown for all utterances; expected at least 2 values."
    if len(values) == 1:
        return f"label {label}: has the value {values[0]} only; expected at least 2 values."
    if not classes:
        return (
            f"label {label}: each of its {len(values)} values belongs to one singer only, so that it tells the singer; "
            f"expected values that at least 2 singers share. The singer himself is probed with --label {SINGER}."
        )
    return (
        f"label {label}: of its {len(values)} values only {classes[0]} is shared by 2 singers or more, while "
        f"{format_names(alone)} {'belong' if len(alone) > 1 else 'belongs'} to one singer each; expected at least 2 "
        f"shared values."
    )


def parse_numbers(values: np.ndarray) -> Float[np.ndarray, " utterances"] | None:
    """Return the values as numbers, NaN where unknown; None if one of them is no finite number."""
    if np.issubdtype(values.dtype, np.floating):
        return values.astype(np.float64)
    if not all(value == UNKNOWN or _is_number(value) for value in values.tolist()):
        return None
    return np.array([np.nan if value == UNKNOWN else float(value) for value in values.tolist()], np.float64)


def has_many_numbers(values: np.ndarray) -> bool:
    """Whether values that are numbers measure something: so many of them, and none like 01, which is a code."""
    if np.issubdtype(values.dtype, np.floating):
        return True
    known = {str(value).strip() for value in values.tolist() if value != UNKNOWN}
    is_code = any(len(value) > 1 and value[0] == "0" and value[1].isdigit() for value in known)
    return not is_code and len(known) >= MIN_DIFFERENT_NUMBERS


def _is_number(value: object) -> bool:
    try:
        return bool(np.isfinite(float(str(value))))
    except ValueError:
        return False
