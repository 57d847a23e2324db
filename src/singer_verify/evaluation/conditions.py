"""Conditions: named subsets of trials, by what is known of the two utterances.

Conventions: a condition keeps target and non-target trials alike. `same song` holds the trials whose two utterances
share their song, `cross song` those whose songs differ; a trial with an unknown value on either side belongs to
neither. A label of the singer (gender) is shared by both sides of every target trial: `same gender` therefore keeps all
target trials of known gender and drops the easy impostors, and `cross gender` has no target trial, so that it has no
error rate.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

UNKNOWN = ""
HARD = "hard"
STYLE, SINGING, SPEECH = "style", "singing", "speech"  # the label that tells singing from speech, and its values
# Of either kind: with fewer, one trial is more than three points of a rate. That makes a rate worth showing, not sure:
# to be within 30 % of the truth with 90 % confidence takes 30 errors (Doddington et al. 2000, The NIST speaker
# recognition evaluation: overview, methodology, systems, results, perspective, Speech Communication 31).
FEWEST_TRIALS = 30
LENGTH_BOUNDS_S = (2.0, 5.0, 10.0)
CLOSE_SEMITONES, OCTAVE_SEMITONES = 2.0, 12.0


@dataclass(frozen=True)
class Descriptions:
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

    def __init__(self, descriptions: Descriptions, only: frozenset[str] | None = None) -> None:
        self.only = only
        self.codes = {label: _codes(values) for label, values in descriptions.labels.items()}
        self.shared = {label for label, each in self.codes.items() if len(np.unique(each)) == 1}
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
        return [name for name, _ in self.of(np.zeros(0, np.int64), np.zeros(0, np.int64))]

    def of(
        self, left: Int[np.ndarray, "*left"], right: Int[np.ndarray, "*right"]
    ) -> Iterator[tuple[str, Bool[np.ndarray, "*trials"]]]:
        """Each condition's name, and which trials it keeps.

        Args:
            left: numbers of utterances.
            right: likewise; the two are broadcast against each other.
        """
        every = self._every(left, right)
        yield from every if self.only is None else (each for each in every if each[0] in self.only)

    def _every(self, left: np.ndarray, right: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        yield from self._of_labels(left, right)
        if self.is_speech is not None and self.is_singing is not None:
            crossed = self.is_speech[left] & self.is_singing[right], self.is_singing[left] & self.is_speech[right]
            yield "speech against song", crossed[0] | crossed[1]
        if self.semitones is not None:
            apart = np.abs(self.semitones[left] - self.semitones[right])
            yield f"pitch within {CLOSE_SEMITONES:g} semitones", apart <= CLOSE_SEMITONES
            yield "pitch an octave or more apart", apart >= OCTAVE_SEMITONES
        if self.seconds is not None:
            bucket = np.digitize(self.seconds, LENGTH_BOUNDS_S)
            of_shorter = np.minimum(bucket[left], bucket[right])
            yield from ((name, of_shorter == number) for number, name in enumerate(length_names()))

    def _of_labels(self, left: np.ndarray, right: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        kept = {}
        for label, codes in self.codes.items():
            left_codes, right_codes = codes[left], codes[right]
            is_known = (left_codes >= 0) & (right_codes >= 0)
            is_equal = left_codes == right_codes
            kept[f"same {label}"], kept[f"cross {label}"] = is_known & is_equal, is_known & ~is_equal
            if label not in self.shared:
                yield from ((name, kept[name]) for name in (f"same {label}", f"cross {label}"))
        if "cross song" in kept and "same gender" in kept:
            yield HARD, kept["cross song"] & kept["same gender"]


def length_names() -> list[str]:
    """Of the conditions on the shorter utterance's length, the shortest first."""
    first, *_ = LENGTH_BOUNDS_S
    between = [f"{low:g} to {high:g} s" for low, high in pairwise(LENGTH_BOUNDS_S)]
    return [f"shorter than {first:g} s", *between, f"{LENGTH_BOUNDS_S[-1]:g} s or longer"]


def _codes(values: np.ndarray) -> Int[np.ndarray, " utterances"]:
    """A number for each value; -1 for the unknown."""
    codes, _ = pd.factorize(np.where(values == UNKNOWN, None, values))  # type: ignore[call-overload]
    return codes.astype(np.int64)
