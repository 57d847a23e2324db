"""Which of the singers who are judged were met before: figures on them flatter a model.

A recording is known again by its content, which is certain, wherever it lies. A name is not: in many corpora singers
are called 01 and 02. So namesakes are counted apart.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TRAINING, MODEL_SELECTION = "training", "model_selection"  # of the model, and of its best step
THRESHOLD, CALIBRATION, COHORT = "threshold", "calibration", "cohort"  # parts of a scoring, and whom they are from


@dataclass(frozen=True)
class SeenSingers:
    """Singers of a training, or of the fitting of a scoring.

    Attributes:
        names: as they are called in their corpus.
        recordings: see `corpora.identities`; none, where they were not recorded.
    """

    names: frozenset[str]
    recordings: frozenset[int]

    @classmethod
    def from_names(cls, singers: Iterable[str], recordings: Iterable[int]) -> "SeenSingers":
        """Of names, with or without their corpus before them, and of recordings in any order."""
        names = frozenset(str(singer).rpartition("/")[2] for singer in singers)
        return cls(names, frozenset(int(recording) for recording in recordings))


@dataclass(frozen=True)
class SingerOverlap:
    """
    Attributes:
        num_singers: who are judged.
        num_recognised: of them, those of whom a recording is among the known ones.
        num_namesakes: of the others, those who are called like a known singer.
    """

    num_singers: int
    num_recognised: int
    num_namesakes: int


def compute_singer_overlap(known: SeenSingers, singers: Sequence[str], recordings: Sequence[int]) -> SingerOverlap:
    """
    Args:
        known: whom one looks for.
        singers: (utterances,), who sings each utterance that is judged, by the name of the folder.
        recordings: (utterances,), their identities.
    """
    pairs = zip(singers, recordings, strict=True)
    recognised = {singer for singer, recording in pairs if recording in known.recordings}
    namesakes = (set(singers) - recognised) & known.names
    return SingerOverlap(len(set(singers)), len(recognised), len(namesakes))
