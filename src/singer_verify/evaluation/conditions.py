"""Conditions: named subsets of trials, by what is known of the two utterances.

Conventions: a condition keeps target and non-target trials alike. `same song` holds the trials whose two utterances
share their song, `cross song` those whose songs differ; a trial with an unknown value on either side belongs to
neither. A label of the singer (gender) is shared by both sides of every target trial: `same gender` therefore keeps all
target trials of known gender and drops the easy impostors, and `cross gender` has no target trial, so that it has no
error rate.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from singer_verify.errors import SingerVerifyError, require_choice

UNKNOWN = ""
HARD = "hard"
STYLE, SINGING, SPEECH = "style", "singing", "speech"  # the label that tells singing from speech, and its values
# Of either kind: with fewer, one trial is more than three points of a rate. That makes a rate worth showing, not sure:
# to be within 30 % of the truth with 90 % confidence takes 30 errors (Doddington et al. 2000, The NIST speaker
# recognition evaluation: overview, methodology, systems, results, perspective, Speech Communication 31).
MIN_TRIALS_PER_KIND = 30
LENGTH_BOUNDS_S = (2.0, 5.0, 10.0)
CLOSE_PITCH_SEMITONES, OCTAVE_SEMITONES = 2.0, 12.0


@dataclass(frozen=True)
class UtteranceMetadata:
    """What is known of the utterances.

    Attributes:
        labels: for each label (gender, song, technique, ...) its value for every utterance, `""` where unknown.
        seconds: (utterances,), their lengths; None where they were not measured.
        median_f0_hz: (utterances,), of their voiced frames, NaN where there is none; None where not measured.
    """

    labels: dict[str, np.ndarray]
    seconds: Float[np.ndarray, " utterances"] | None = None
    median_f0_hz: Float[np.ndarray, " utterances"] | None = None


class Conditions:
    """The conditions that the descriptions of utterances allow.

    `same <label>` and `cross <label>` for each label that not all utterances share, in the order of the labels; `hard`
    (another song, a singer of the same gender) where song and gender are among them; `speech against song` where both
    styles are; how far the medians of f0 lie apart; and how long the shorter of the two utterances is.

    Args:
        descriptions: of the utterances.
        only: names of those that are wanted; None takes all.
    """

    def __init__(self, descriptions: UtteranceMetadata, only: frozenset[str] | None = None) -> None:
        self.selected = only
        self.codes = {label: _encode_labels(values) for label, values in descriptions.labels.items()}
        self.constant_labels = {label for label, each in self.codes.items() if len(np.unique(each)) == 1}
        style = descriptions.labels.get(STYLE)
        both_styles = style is not None and {SINGING, SPEECH} <= set(style.tolist())
        self.is_speech = np.asarray(style == SPEECH) if both_styles else None
        self.is_singing = np.asarray(style == SINGING) if both_styles else None
        self.seconds, self.semitones = descriptions.seconds, None
        if descriptions.median_f0_hz is not None:
            self.semitones = 12.0 * np.log2(descriptions.median_f0_hz)

    @property
    def names(self) -> list[str]:
        """In their order."""
        return [name for name, _ in self.iterate_masks(np.zeros(0, np.int64), np.zeros(0, np.int64))]

    def iterate_masks(
        self, left: Int[np.ndarray, "*left"], right: Int[np.ndarray, "*right"]
    ) -> Iterator[tuple[str, Bool[np.ndarray, "*trials"]]]:
        """Each condition's name, and which trials it keeps.

        Args:
            left: numbers of utterances.
            right: likewise; the two are broadcast against each other.
        """
        every = self._iterate_all(left, right)
        yield from every if self.selected is None else (each for each in every if each[0] in self.selected)

    def _iterate_all(self, left: np.ndarray, right: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        yield from self._iterate_label_conditions(left, right)
        if self.is_speech is not None and self.is_singing is not None:
            crossed = self.is_speech[left] & self.is_singing[right], self.is_singing[left] & self.is_speech[right]
            yield "speech against song", crossed[0] | crossed[1]
        if self.semitones is not None:
            apart = np.abs(self.semitones[left] - self.semitones[right])
            yield f"pitch within {CLOSE_PITCH_SEMITONES:g} semitones", apart <= CLOSE_PITCH_SEMITONES
            yield "pitch an octave or more apart", apart >= OCTAVE_SEMITONES
        if self.seconds is not None:
            bucket = np.digitize(self.seconds, LENGTH_BOUNDS_S)
            of_shorter = np.minimum(bucket[left], bucket[right])
            yield from ((name, of_shorter == number) for number, name in enumerate(list_length_conditions()))

    def _iterate_label_conditions(self, left: np.ndarray, right: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        kept = {}
        for label, codes in self.codes.items():
            left_codes, right_codes = codes[left], codes[right]
            is_known = (left_codes >= 0) & (right_codes >= 0)
            is_equal = left_codes == right_codes
            kept[f"same {label}"], kept[f"cross {label}"] = is_known & is_equal, is_known & ~is_equal
            if label not in self.constant_labels:
                yield from ((name, kept[name]) for name in (f"same {label}", f"cross {label}"))
        if "cross song" in kept and "same gender" in kept:
            yield HARD, kept["cross song"] & kept["same gender"]


def list_length_conditions() -> list[str]:
    """Of the conditions on the shorter utterance's length, the shortest first."""
    first, *_ = LENGTH_BOUNDS_S
    between = [f"{low:g} to {high:g} s" for low, high in pairwise(LENGTH_BOUNDS_S)]
    return [f"shorter than {first:g} s", *between, f"{LENGTH_BOUNDS_S[-1]:g} s or longer"]


def _encode_labels(values: np.ndarray) -> Int[np.ndarray, " utterances"]:
    """A number for each value; -1 for the unknown."""
    codes, _ = pd.factorize(np.where(values == UNKNOWN, None, values))  # type: ignore[call-overload]
    return codes.astype(np.int64)


LENGTH_GROUP, PITCH_GROUP, NO_CONDITIONS = (
    "length",
    "pitch",
    "none",
)  # conditions that are measured, beside the labels; and no condition


@dataclass(frozen=True)
class ConditionSelection:
    """
    Attributes:
        names: of the conditions to be judged.
        labels: that they ask for; of the others nothing needs to be known.
        needs_length: whether they ask how long the utterances are.
        needs_pitch: whether they ask for their f0.
    """

    names: frozenset[str]
    labels: frozenset[str]
    needs_length: bool
    needs_pitch: bool


def select_conditions(
    wanted: str | None, labels: Mapping[str, np.ndarray], is_measurable: bool = True
) -> ConditionSelection:
    """What `--conditions` means.

    Args:
        wanted: labels, `length`, `pitch` and names of conditions, separated by commas, or `none`; None takes all.
        labels: for each label its value for every utterance.
        is_measurable: whether length and pitch can be told: not of ready features.

    Raises:
        SingerVerifyError: a name that is none of these, or `none` beside another.
    """
    groups = [*labels, LENGTH_GROUP, PITCH_GROUP] if is_measurable else [*labels]
    every = _list_condition_names(labels, groups)
    parts = groups if wanted is None else wanted.split(",")
    for part in parts:
        require_choice((*groups, NO_CONDITIONS, *every), **{"--conditions": part})
    if NO_CONDITIONS in parts and len(parts) > 1:
        raise SingerVerifyError(f"--conditions {wanted}: none stands alone; leave it out, or everything else.")
    names = {
        *_list_condition_names(labels, [part for part in parts if part in groups]),
        *(part for part in parts if part in every),
    }
    needed = frozenset(
        group for group in groups if not names <= set(_list_condition_names(labels, _exclude_group(groups, group)))
    )
    return ConditionSelection(
        frozenset(names), needed - {LENGTH_GROUP, PITCH_GROUP}, LENGTH_GROUP in needed, PITCH_GROUP in needed
    )


def _exclude_group(groups: Collection[str], group: str) -> list[str]:
    return [each for each in groups if each != group]


def _list_condition_names(labels: Mapping[str, np.ndarray], groups: Collection[str]) -> list[str]:
    """Of the conditions that can be told from some labels and measures."""
    described = UtteranceMetadata(
        {label: values for label, values in labels.items() if label in groups},
        np.ones(1) if LENGTH_GROUP in groups else None,
        np.ones(1) if PITCH_GROUP in groups else None,
    )
    return Conditions(described).names
