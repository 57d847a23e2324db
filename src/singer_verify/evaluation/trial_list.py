"""A list of trials: pairs of recordings by their paths."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Shaped

from singer_verify.errors import SingerVerifyError


@dataclass(frozen=True)
class TrialList:
    """Pairs of recordings as a file holds them.

    Attributes:
        left: (trials,), path of one recording with forward slashes, an object array of strings.
        right: (trials,), of the other.
        is_target: (trials,), whether one singer sings both.
        labels: a row for each trial, of strings: `left_singer`, `right_singer`, `left_gender`, ...; None without any.
    """

    left: Shaped[np.ndarray, " trials"]
    right: Shaped[np.ndarray, " trials"]
    is_target: Bool[np.ndarray, " trials"]
    labels: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.is_target)

    @property
    def num_targets(self) -> int:
        """Trials of one singer."""
        return int(self.is_target.sum())


def require_both_kinds(trials: TrialList, name: str) -> None:
    """
    Args:
        trials: to be judged.
        name: of the list, for the message.

    Raises:
        SingerVerifyError: no trial, or only target or only non-target trials.
    """
    if not len(trials):
        raise SingerVerifyError(f"{name}: holds no trial; expected target and non-target trials.")
    if trials.num_targets in (0, len(trials)):
        found, lacking = ("target", "non-target") if trials.num_targets else ("non-target", "target")
        raise SingerVerifyError(
            f"{name}: all its {len(trials)} trials are {found} trials; expected some {lacking} trials too, as error "
            f"rates compare the two."
        )
