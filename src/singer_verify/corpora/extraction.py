"""The voice out of a recording that holds an accompaniment in another channel."""

from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float

from singer_verify.audio.decoding import UNREADABLE, require_text
from singer_verify.corpora.recording import Voice
from singer_verify.errors import UtteranceError


def write_voice(source: Path, target: Path, voice: Voice) -> None:
    """Write one channel of a file, or a mixture of two at a given ratio of powers, as 16-bit FLAC.

    Raises:
        UtteranceError: the file cannot be decoded, lacks one of the channels, or has a path that is no text.
    """
    require_text(source)
    try:
        samples, sample_rate = soundfile.read(source, dtype="float64", always_2d=True)
    except UNREADABLE as error:
        raise UtteranceError(f"{source}: cannot be decoded as audio ({error}).") from error
    needed = max(voice.channel, voice.accompaniment_channel) + 1
    if samples.shape[1] < needed:
        raise UtteranceError(
            f"{source}: has {samples.shape[1]} channels; expected {needed}, the voice in channel {voice.channel + 1}."
        )
    alone = samples[:, voice.channel]
    if voice.snr_db is not None:
        alone = mixed(alone, samples[:, voice.accompaniment_channel], voice.snr_db)
    soundfile.write(target, alone, sample_rate, subtype="PCM_16", format="FLAC")


def mixed(
    voice: Float[np.ndarray, " samples"], accompaniment: Float[np.ndarray, " samples"], snr_db: float
) -> Float[np.ndarray, " samples"]:
    """Voice and accompaniment, this scaled so that the ratio of their mean powers is `snr_db`.

    A sum that leaves [-1, 1] is scaled back as a whole. A silent voice or accompaniment is left as it is.
    """
    voice_power, other_power = float(np.mean(voice**2)), float(np.mean(accompaniment**2))
    if not voice_power or not other_power:
        return voice
    gain = np.sqrt(voice_power / (other_power * 10 ** (snr_db / 10)))
    mixture = voice + gain * accompaniment
    return mixture / max(1.0, float(np.abs(mixture).max()))
