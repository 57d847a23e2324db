"""Score normalisation by a cohort of singers outside the trials."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from singer_verify.errors import SingerVerifyError

MAX_COHORT_SCORES_PER_BLOCK = 2**23  # 32 MB in single precision
MIN_COHORT_STD = 1e-6  # about what single precision leaves of equal cosines


@dataclass(frozen=True)
class Cohort:
    """Embeddings, projected like those of the trials.

    Attributes:
        embeddings: (cohort, projected), rows of unit length.
        num_nearest: number of highest-scoring cohort members used for each side (adaptive s-norm); None uses all.

    Raises:
        SingerVerifyError: fewer than two embeddings, or fewer than `num_nearest`.
    """

    embeddings: Float[np.ndarray, "cohort projected"]
    num_nearest: int | None = None

    def __post_init__(self) -> None:
        if len(self.embeddings) < 2:
            raise SingerVerifyError(
                f"a cohort of {len(self.embeddings)} utterances: score normalisation needs at least 2."
            )
        if self.num_nearest is not None and not 2 <= self.num_nearest <= len(self.embeddings):
            raise SingerVerifyError(
                f"the nearest {self.num_nearest} of a cohort of {len(self.embeddings)} utterances: expected a number "
                f"from 2 to {len(self.embeddings)}."
            )

    def compute_statistics(
        self, rows: Float[np.ndarray, "sides projected"]
    ) -> tuple[Float[np.ndarray, " sides"], Float[np.ndarray, " sides"]]:
        """Compute mean and standard deviation of each side's scores against the cohort, block by block.

        Against all of it: symmetric normalisation, s-norm (Kenny 2010, Bayesian speaker verification with heavy-tailed
        priors, Odyssey). Against the nearest: adaptive s-norm, where each side has its own
        (Matějka, Novotný, Plchot, Burget, Diez Sánchez & Černocký 2017, Analysis of score normalization in multilingual
        speaker recognition, Interspeech; there AS-norm1).

        Returns:
            means and deviations, (sides,), in the precision of the rows; no deviation is 0.
        """
        means, deviations = np.empty(len(rows), rows.dtype), np.empty(len(rows), rows.dtype)
        step = max(1, MAX_COHORT_SCORES_PER_BLOCK // len(self.embeddings))
        for first in range(0, len(rows), step):
            block = slice(first, first + step)
            scores = self._compute_cohort_scores(rows[block])
            means[block] = scores.mean(axis=1)
            deviations[block] = scores.std(axis=1)
        return means, np.maximum(deviations, rows.dtype.type(MIN_COHORT_STD))

    def _compute_cohort_scores(self, rows: Float[np.ndarray, "sides projected"]) -> Float[np.ndarray, "sides seen"]:
        scores: np.ndarray = rows @ self.embeddings.T
        if self.num_nearest is None or self.num_nearest == len(self.embeddings):
            return scores
        scores.partition(len(self.embeddings) - self.num_nearest, axis=1)
        return scores[:, len(self.embeddings) - self.num_nearest :]
