"""Short excerpts of recordings as `data:` addresses that a page can play."""

import base64
import io
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float

from singer_verify.audio import AUDIO_SUFFIXES, load_audio
from singer_verify.errors import UtteranceError

SAMPLE_RATE = 16_000
EXCERPT_SECONDS = 6.0
MOST_BYTES = 10_000_000  # of all excerpts of a page


class Excerpts:
    """Excerpts of the utterances of a corpus, until the page is full; each is encoded once.

    Args:
        root: of the corpus.
        most_bytes: of all addresses that are given out.
    """

    def __init__(self, root: Path, most_bytes: int = MOST_BYTES) -> None:
        self.root, self.bytes_left = root, most_bytes
        self._known: dict[str, str | None] = {}

    def address(self, path: str) -> str | None:
        """Of an utterance's excerpt; None where it is no audio, cannot be read, or would make the page too large."""
        if path not in self._known:
            self._known[path] = _encoded(self.root / path)
        address = self._known[path]
        if address is None or len(address) > self.bytes_left:
            return None
        self.bytes_left -= len(address)
        return address


def _encoded(path: Path) -> str | None:
    if path.suffix.lower() not in AUDIO_SUFFIXES:
        return None
    try:
        samples = loudest(load_audio(path, SAMPLE_RATE))
    except UtteranceError:
        return None
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="OGG", subtype="VORBIS")
    return f"data:audio/ogg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def loudest(samples: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " excerpt"]:
    """The excerpt with the most energy: recordings often begin with silence."""
    length = round(EXCERPT_SECONDS * SAMPLE_RATE)
    if samples.size <= length:
        return samples
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    first = int(np.argmax(energy[length:] - energy[:-length]))
    return samples[first : first + length]
