"""The line on which a score and a threshold are shown."""

from dataclasses import dataclass

from singer_verify.evaluation.scoring import Scoring

NORMALISED_REACH = 4.0  # standard deviations of a cohort's scores; further out is shown at the end


@dataclass(frozen=True)
class Scale:
    """From the lowest score shown to the highest."""

    low: float
    high: float

    def place(self, score: float) -> float:
        """In percent of the line, from its low end."""
        share = (score - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 1)


def scale_of(scoring: Scoring) -> Scale:
    """Cosines lie between -1 and 1; scores normalised by a cohort have no ends."""
    return Scale(-1.0, 1.0) if scoring.cohort is None else Scale(-NORMALISED_REACH, NORMALISED_REACH)
