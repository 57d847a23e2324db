"""Conditions: named subsets of trials, by what is known of the two utterances.

Conventions: a condition keeps target and non-target trials alike. `same song` holds the trials whose two utterances
share their song, `cross song` those whose songs differ; a trial with an unknown value on either side belongs to
neither. A label of the singer (gender) is shared by both sides of every target trial: `same gender` therefore keeps all
target trials of known gender and drops the easy impostors, and `cross gender` has no target trial, so that it has no
error rate.
"""

import numpy as np
from jaxtyping import Bool, Int

UNKNOWN = ""
HARD = "hard"


def conditions_of(
    labels: dict[str, np.ndarray], left: Int[np.ndarray, " trials"], right: Int[np.ndarray, " trials"]
) -> dict[str, Bool[np.ndarray, " trials"]]:
    """Which trials belong to which condition.

    Args:
        labels: for each label (gender, song, technique, ...) its value for every utterance, `""` where unknown.
        left: (trials,), number of one utterance.
        right: (trials,), number of the other.

    Returns:
        `same <label>` and `cross <label>` for each label, in the order of the labels, and `hard` (another song, a
        singer of the same gender) where song and gender are among them.
    """
    conditions: dict[str, np.ndarray] = {}
    for label, values in labels.items():
        left_values, right_values = values[left], values[right]
        is_known = (left_values != UNKNOWN) & (right_values != UNKNOWN)
        is_equal = left_values == right_values
        conditions[f"same {label}"] = np.asarray(is_known & is_equal, bool)
        conditions[f"cross {label}"] = np.asarray(is_known & ~is_equal, bool)
    if "song" in labels and "gender" in labels:
        conditions[HARD] = conditions["cross song"] & conditions["same gender"]
    return conditions
