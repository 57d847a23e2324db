"""Conditions: named subsets of trials, selected by labels and measurements of the two utterances.

Conventions: a condition keeps target and non-target trials alike. `same song` holds the trials whose two utterances
share their song, `cross song` those whose songs differ; a trial with an unknown value on either side belongs to
neither. A label of the singer (gender) is shared by both sides of every target trial: `same gender` therefore keeps all
target trials of known gender and drops the easy impostors, and `cross gender` has no target trial, so that it has no
error rate. Names joined by ` + ` make the condition that holds the trials of all of them: `cross vowel + cross note`.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from singer_verify.corpora.matching import ABSENT
from singer_verify.errors import SingerVerifyError, require_choice
from singer_verify.evaluation.scoring.enrolment import SingerModels

UNKNOWN = ""
HARD = "hard"
CONJUNCTION = " + "
STYLE, SINGING, SPEECH = "style", "singing", "speech"  # label that distinguishes singing from speech, and its values
# Of either kind: with fewer, one trial is more than three points of a rate. That makes a rate worth showing, not sure:
# to be within 30 % of the truth with 90 % confidence takes 30 errors (Doddington et al. 2000, The NIST speaker
# recognition evaluation: overview, methodology, systems, results, perspective, Speech Communication 31).
MIN_TRIALS_PER_KIND = 30
LENGTH_BOUNDS_S = (2.0, 5.0, 10.0)
CLOSE_PITCH_SEMITONES, OCTAVE_SEMITONES = 2.0, 12.0
LENGTH_GROUP, PITCH_GROUP = "length", "pitch"  # groups of conditions that are measured, beside the labels
NO_CONDITIONS = "none"


@dataclass(frozen=True)
class UtteranceMetadata:
    """Labels and measurements of utterances.

    Attributes:
        labels: values of all utterances by label (gender, song, technique, ...), `""` where unknown.
        seconds: (utterances,), durations; None if not measured.
        median_f0_hz: (utterances,), over voiced frames, NaN without any; None if not measured.
        domains: (utterances,), values of the label that a scoring centres by; None where it does not.
    """

    labels: dict[str, np.ndarray]
    seconds: Float[np.ndarray, " utterances"] | None = None
    median_f0_hz: Float[np.ndarray, " utterances"] | None = None
    domains: np.ndarray | None = None

    def join_models(self, singer_index: Int[np.ndarray, " utterances"], models: SingerModels) -> "UtteranceMetadata":
        """Return the metadata of the utterances and, after them, of singers' models.

        A model has the labels that all utterances of its singer share (gender), the duration of its utterances in all,
        and no pitch.
        """
        labels = {
            label: np.concatenate([values, _find_shared_values(values, singer_index)[models.singer_index]])
            for label, values in self.labels.items()
        }
        seconds = median_f0_hz = None
        if self.seconds is not None:
            of_models = np.bincount(singer_index, self.seconds)[models.singer_index]
            is_reduced = models.left_out != ABSENT
            of_models[is_reduced] -= self.seconds[models.left_out[is_reduced]]
            seconds = np.concatenate([self.seconds, of_models])
        if self.median_f0_hz is not None:
            median_f0_hz = np.concatenate([self.median_f0_hz, np.full(len(models.singer_index), np.nan)])
        return UtteranceMetadata(labels, seconds, median_f0_hz)


class Conditions:
    """The conditions that the metadata of utterances allow.

    `same <label>` and `cross <label>` for each label that not all utterances share, in the order of the labels; `hard`
    (another song, a singer of the same gender) where song and gender are among them; `speech against song` where both
    styles are; how far the medians of f0 lie apart; and how long the shorter of the two utterances is.

    Args:
        metadata: labels and measurements of the utterances.
        selected: names of the conditions to keep, also joined ones; None keeps all that are not joined.
    """

    def __init__(self, metadata: UtteranceMetadata, selected: frozenset[str] | None = None) -> None:
        self.selected = selected
        self.codes = {label: _encode_labels(values) for label, values in metadata.labels.items()}
        self.constant_labels = {label for label, codes in self.codes.items() if len(np.unique(codes)) == 1}
        style = metadata.labels.get(STYLE)
        both_styles = style is not None and {SINGING, SPEECH} <= set(style.tolist())
        self.is_speech = np.asarray(style == SPEECH) if both_styles else None
        self.is_singing = np.asarray(style == SINGING) if both_styles else None
        self.seconds, self.semitones = metadata.seconds, None
        if metadata.median_f0_hz is not None:
            self.semitones = 12.0 * np.log2(metadata.median_f0_hz)

    @property
    def names(self) -> list[str]:
        """Names of the conditions, in order."""
        return [name for name, _ in self.iterate_masks(np.zeros(0, np.int64), np.zeros(0, np.int64))]

    def iterate_masks(
        self, left: Int[np.ndarray, "*left"], right: Int[np.ndarray, "*right"]
    ) -> Iterator[tuple[str, Bool[np.ndarray, "*trials"]]]:
        """Yield each condition's name, and which trials it keeps.

        Args:
            left: utterance numbers.
            right: utterance numbers; the two are broadcast against each other.
        """
        joined = sorted(name for name in self.selected or () if CONJUNCTION in name)
        parts: dict[str, np.ndarray] = {}  # what joined conditions are made of
        for name, mask in self._iterate_all(left, right):
            if self.selected is None or name in self.selected:
                yield name, mask
            if any(name in whole.split(CONJUNCTION) for whole in joined):
                parts[name] = mask
        for whole in joined:
            yield whole, np.logical_and.reduce([parts[name] for name in whole.split(CONJUNCTION)])

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
            shorter_bucket = np.minimum(bucket[left], bucket[right])
            yield from ((name, shorter_bucket == number) for number, name in enumerate(list_length_conditions()))

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
    """List the conditions on the shorter utterance's duration, the shortest first."""
    first, *_ = LENGTH_BOUNDS_S
    between = [f"{low:g} to {high:g} s" for low, high in pairwise(LENGTH_BOUNDS_S)]
    return [f"shorter than {first:g} s", *between, f"{LENGTH_BOUNDS_S[-1]:g} s or longer"]


def _find_shared_values(values: np.ndarray, singer_index: Int[np.ndarray, " utterances"]) -> np.ndarray:
    """Return for each singer the value that all the utterances share, `UNKNOWN` where they have several."""
    by_singer = pd.Series(values).groupby(singer_index)
    return by_singer.first().where(by_singer.nunique() == 1, UNKNOWN).to_numpy(object)


def _encode_labels(values: np.ndarray) -> Int[np.ndarray, " utterances"]:
    """Number the values; unknown ones are -1."""
    codes, _ = pd.factorize(np.where(values == UNKNOWN, None, values))  # type: ignore[call-overload]
    return codes.astype(np.int64)


@dataclass(frozen=True)
class ConditionSelection:
    """Conditions to evaluate, and the metadata they need.

    Attributes:
        names: names of the conditions.
        labels: labels they need.
        needs_length: whether they need the durations of the utterances.
        needs_pitch: whether they need the f0 of the utterances.
    """

    names: frozenset[str]
    labels: frozenset[str]
    needs_length: bool
    needs_pitch: bool


def select_conditions(
    selection: str | None, labels: Mapping[str, np.ndarray], is_measurable: bool = True
) -> ConditionSelection:
    """Parse the option `--conditions`.

    Args:
        selection: labels, `length`, `pitch` and names of conditions, which ` + ` joins, separated by commas, or `none`;
            None takes all.
        labels: values of all utterances by label.
        is_measurable: whether duration and pitch can be measured, which precomputed features do not allow.

    Raises:
        SingerVerifyError: an unknown name, or `none` beside another name.
    """
    groups = [*labels, LENGTH_GROUP, PITCH_GROUP] if is_measurable else [*labels]
    every = _list_condition_names(labels, groups)
    parts = groups if selection is None else selection.split(",")
    for part in parts:
        allowed = every if CONJUNCTION in part else (*groups, NO_CONDITIONS, *every)
        for name in part.split(CONJUNCTION):
            require_choice(tuple(allowed), **{"--conditions": name})
    if NO_CONDITIONS in parts and len(parts) > 1:
        raise SingerVerifyError(
            f"--conditions {selection}: `none` cannot be combined with other conditions; remove it or the others."
        )
    names = {
        *_list_condition_names(labels, [part for part in parts if part in groups]),
        *(part for part in parts if part in every or CONJUNCTION in part),
    }
    single = {part for name in names for part in name.split(CONJUNCTION)}
    needed = frozenset(
        group for group in groups if not single <= set(_list_condition_names(labels, _exclude_group(groups, group)))
    )
    return ConditionSelection(
        frozenset(names), needed - {LENGTH_GROUP, PITCH_GROUP}, LENGTH_GROUP in needed, PITCH_GROUP in needed
    )


def _exclude_group(groups: Collection[str], group: str) -> list[str]:
    return [name for name in groups if name != group]


def _list_condition_names(labels: Mapping[str, np.ndarray], groups: Collection[str]) -> list[str]:
    """List the conditions that some labels and measurements allow."""
    described = UtteranceMetadata(
        {label: values for label, values in labels.items() if label in groups},
        np.ones(1) if LENGTH_GROUP in groups else None,
        np.ones(1) if PITCH_GROUP in groups else None,
    )
    return Conditions(described).names
