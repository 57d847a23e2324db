"""Playable excerpts of recordings, for the page of an evaluation: the loudest seconds, as data URIs."""

import base64
import io
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float

from singer_verify.audio import AUDIO_SUFFIXES, load_audio
from singer_verify.errors import UtteranceError

EXCERPT_SAMPLE_RATE = 16_000
EXCERPT_SECONDS = 6.0
MAX_EXCERPT_BYTES = 10_000_000  # of all excerpts of a page


class ExcerptEncoder:
    """Encode excerpts of utterances as data URIs, each once, up to a total size.

    Args:
        root: root folder of the corpus.
        max_bytes: largest total size of all data URIs.
    """

    def __init__(self, root: Path, max_bytes: int = MAX_EXCERPT_BYTES) -> None:
        self.root, self.bytes_left = root, max_bytes
        self._excerpts: dict[tuple[str, float | None], str | None] = {}

    def address(self, path: str, middle_s: float | None = None) -> str | None:
        """Return the data URI of an excerpt; None if it is not audio, unreadable, or would exceed the total size.

        Args:
            path: path of the recording.
            middle_s: middle of the excerpt, in seconds; None takes the loudest.
        """
        key = path, middle_s
        if key not in self._excerpts:
            self._excerpts[key] = _encode_excerpt(self.root / path, middle_s)
        address = self._excerpts[key]
        if address is None or len(address) > self.bytes_left:
            return None
        self.bytes_left -= len(address)
        return address


def _encode_excerpt(path: Path, middle_s: float | None) -> str | None:
    if path.suffix.lower() not in AUDIO_SUFFIXES:
        return None
    try:
        samples = load_audio(path, EXCERPT_SAMPLE_RATE)
    except UtteranceError:
        return None
    samples = find_loudest_excerpt(samples) if middle_s is None else _cut_around(samples, middle_s)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, EXCERPT_SAMPLE_RATE, format="OGG", subtype="VORBIS")
    return f"data:audio/ogg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _cut_around(samples: Float[np.ndarray, " samples"], middle_s: float) -> Float[np.ndarray, " excerpt"]:
    length = round(EXCERPT_SECONDS * EXCERPT_SAMPLE_RATE)
    first = round(middle_s * EXCERPT_SAMPLE_RATE) - length // 2
    first = max(min(first, len(samples) - length), 0)
    return samples[first : first + length]


def find_loudest_excerpt(samples: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " excerpt"]:
    """Return the excerpt with the most energy: recordings often begin with silence."""
    length = round(EXCERPT_SECONDS * EXCERPT_SAMPLE_RATE)
    if samples.size <= length:
        return samples
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    first = int(np.argmax(energy[length:] - energy[:-length]))
    return samples[first : first + length]
