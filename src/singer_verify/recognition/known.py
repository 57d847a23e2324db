"""The singers of a gallery as they are scored."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from singer_verify.evaluation.enrolment import enrolled_sides
from singer_verify.evaluation.scoring import Scoring, Sides
from singer_verify.recognition.enrolled import Enrolled


@dataclass(frozen=True)
class KnownSingers:
    """
    Attributes:
        names: in alphabetical order.
        num_recordings: of each, that are enrolled.
        sides: of each, the mean of these recordings.
    """

    names: tuple[str, ...]
    num_recordings: tuple[int, ...]
    sides: Sides


def known_singers(enrolled: Iterable[Enrolled], scoring: Scoring) -> KnownSingers:
    """
    Args:
        enrolled: at least one recording.
        scoring: of their embeddings.
    """
    recordings = list(enrolled)
    names, groups = np.unique([each.singer for each in recordings], return_inverse=True)
    sides = scoring.sides(np.stack([each.embedding for each in recordings]))
    counts = np.bincount(groups)
    return KnownSingers(tuple(names.tolist()), tuple(counts.tolist()), enrolled_sides(sides, groups, scoring))


def remarks_on_pairs(scoring: Scoring, num_recordings: int) -> tuple[str, ...]:
    """A sentence, where what decides was found on pairs of single recordings and a singer is known from several.

    Args:
        scoring: that decides.
        num_recordings: that the singer is known from.
    """
    is_given = scoring.threshold is not None and scoring.threshold.is_given
    is_calibrated = scoring.calibration is not None
    found = [
        *(["the threshold"] if not is_given and (is_calibrated or scoring.threshold is not None) else []),
        *(["the probabilities"] if is_calibrated else []),
    ]
    if num_recordings < 2 or scoring.several or not found:
        return ()
    return (
        f"{' and '.join(found)} {'were' if is_calibrated else 'was'} found on pairs of single recordings, and the mean "
        f"of several scores higher, so strangers are taken for known singers more often; singer-verify calibrate finds "
        f"them for several, on a corpus with as many recordings of each singer.",
    )
