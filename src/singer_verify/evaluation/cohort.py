"""Singers outside the trials, against whom each side's scores are seen."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Cohort:
    """Embeddings, projected like those of the trials.

    Attributes:
        rows: (cohort, projected), of unit length.
        num_nearest: of them, those that score highest against a side tell of it (adaptive s-norm); None takes all.
    """

    rows: Float[np.ndarray, "cohort projected"]
    num_nearest: int | None = None

    def statistics(
        self, rows: Float[np.ndarray, "sides projected"]
    ) -> tuple[Float[np.ndarray, " sides"], Float[np.ndarray, " sides"]]:
        """Mean and standard deviation of each side's scores against the cohort."""
        raise NotImplementedError
