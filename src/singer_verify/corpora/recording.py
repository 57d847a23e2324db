"""An utterance of a data set as it was downloaded."""

from dataclasses import dataclass, field
from pathlib import Path

FEMALE, MALE = "female", "male"
SINGING, SPEECH = "singing", "speech"


@dataclass(frozen=True)
class VoiceChannel:
    """How the voice is taken out of a recording that holds an accompaniment too.

    Attributes:
        channel: of the voice, counted from 0.
        accompaniment_channel: of everything else.
        snr_db: power of the voice over that of the accompaniment in a mixture of both; None for the voice alone.
    """

    channel: int
    accompaniment_channel: int
    snr_db: float | None = None


@dataclass(frozen=True)
class Recording:
    """One utterance of a data set.

    Attributes:
        source: the file.
        singer: who sings.
        name: path below the singer's folder in the prepared corpus.
        labels: what is known of it, by label: gender, song, technique, vowel, exercise, emotion, ...
        split: train, val or test, where the data set says so.
        voice: None where the file is taken as it is.
    """

    source: Path
    singer: str
    name: str
    labels: dict[str, str] = field(default_factory=dict)
    split: str = ""
    voice: VoiceChannel | None = None
