"""An utterance of a data set in the layout it was downloaded in."""

from dataclasses import dataclass, field
from pathlib import Path

FEMALE, MALE = "female", "male"
SINGING, SPEECH = "singing", "speech"


@dataclass(frozen=True)
class VoiceChannel:
    """Where to find the voice in a recording that also contains an accompaniment.

    Attributes:
        channel: index of the voice channel, from 0.
        accompaniment_channel: index of the channel with everything else.
        snr_db: power ratio of voice to accompaniment to mix them at; None takes the voice alone.
    """

    channel: int
    accompaniment_channel: int
    snr_db: float | None = None


@dataclass(frozen=True)
class Recording:
    """One utterance of a data set.

    Attributes:
        source: the file.
        singer: name of the singer.
        name: path below the singer's folder in the prepared corpus.
        labels: further annotations by label: gender, song, technique, vowel, exercise, emotion, ...
        split: train, val or test, if the data set defines splits.
        voice_channel: how to extract the voice; None if the file contains only the voice.
    """

    source: Path
    singer: str
    name: str
    labels: dict[str, str] = field(default_factory=dict)
    split: str = ""
    voice_channel: VoiceChannel | None = None
