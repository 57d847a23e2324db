"""Overlap between evaluated singers and those seen in training or fitting, on whom metrics are optimistic.

Recordings are recognised by their content, which is reliable wherever the file lies. Names are not: in many corpora
singers are called 01 and 02. So singers with the same name are counted separately.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from singer_verify.audio.content import NO_CONTENT
from singer_verify.corpora.names import normalise_name

TRAINING, MODEL_SELECTION = "training", "model_selection"  # uses of singers by the model
THRESHOLD, CALIBRATION, COHORT = "threshold", "calibration", "cohort"  # uses of singers by a scoring


@dataclass(frozen=True)
class SeenSingers:
    """Singers that a model was trained on, or a scoring fitted to.

    Attributes:
        names: names of the singers in their corpus.
        recordings: identities of their recordings, see `audio.content`; empty if not recorded.
    """

    names: frozenset[str]
    recordings: frozenset[int]

    @classmethod
    def from_names(cls, singers: Iterable[str], recordings: Iterable[int]) -> "SeenSingers":
        """Build from names, with or without a corpus before them, and recordings in any order."""
        names = frozenset(normalise_name(str(singer)).rpartition("/")[2] for singer in singers)
        return cls(names, frozenset(int(recording) for recording in recordings))


@dataclass(frozen=True)
class SingerOverlap:
    """Numbers of evaluated singers that were seen before.

    Attributes:
        num_singers: number of evaluated singers.
        num_recognised: number of singers with a seen recording.
        num_namesakes: number of other singers who share a name with a seen singer.
    """

    num_singers: int
    num_recognised: int
    num_namesakes: int


def compute_singer_overlap(seen: SeenSingers, singers: Sequence[str], recordings: Sequence[int]) -> SingerOverlap:
    """Count the evaluated singers that were seen before.

    Args:
        seen: singers of a training or fitting.
        singers: (utterances,), singer of each evaluated utterance, with or without a corpus before the name.
        recordings: (utterances,), identities of what they sound like.
    """
    singers = [normalise_name(singer) for singer in singers]
    pairs = zip(singers, recordings, strict=True)
    known = seen.recordings - {NO_CONTENT}
    recognised = {singer for singer, recording in pairs if recording in known}
    namesakes = {singer for singer in set(singers) - recognised if singer.rpartition("/")[2] in seen.names}
    return SingerOverlap(len(set(singers)), len(recognised), len(namesakes))
