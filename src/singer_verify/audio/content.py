"""The identity of a recording's sound: the same for a copy, for a wav and its flac, for mono and two equal channels.

Channels are mixed to one, and samples rounded to 16 bits, at the recording's own rate, so that a lossless encoding
in another format has the same identity. Digital silence at either end does not count: many data sets pad their clips to
one length. What is silent, constant or shorter than 0.3 s has no identity, and equals nothing.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from singer_verify.audio.channels import ChannelMix, choose_channel_mix
from singer_verify.audio.clip import AudioClip, read_blocks
from singer_verify.audio.decoding import BLOCK_SAMPLES, AudioBlock

NO_CONTENT = 0  # the identity of what has none
MIN_CONTENT_S = 0.3  # of sound: what is shorter may well be equal by chance, or be a click or a breath
INT16_MAX, INT16_MIN = 32767, -32768


class ContentHasher:
    """Compute the identity of a recording from its blocks, while somebody else reads them.

    hasher = ContentHasher()
    mix, blocks = choose_channel_mix(lambda: decode_blocks(path))
    for block in hasher.watch(blocks, mix):
        ...
    hasher.compute()
    """

    def __init__(self) -> None:
        self.digest = hashlib.blake2b(digest_size=8)
        self.sample_rate = self.num_samples = self.num_pending_zeros = 0
        self.low, self.high = INT16_MAX, INT16_MIN

    def watch(self, blocks: Iterable[AudioBlock], mix: ChannelMix) -> Iterator[AudioBlock]:
        """Pass the blocks on, one by one.

        Args:
            blocks: the recording's blocks in order.
            mix: mix of its channels.
        """
        for block in blocks:
            yield block
            self.update(block, mix)

    def update(self, block: AudioBlock, mix: ChannelMix) -> None:
        """Add a block, mixed to one channel and rounded to 16 bits; silence before and after all sound has no effect.

        Args:
            block: the next of the recording's blocks.
            mix: mix of its channels.
        """
        self.sample_rate = block.sample_rate
        mono = block.samples[:, 0] if block.samples.shape[1] == 1 else mix.apply(block.samples)
        rounded = np.rint(np.nan_to_num(mono) * -INT16_MIN).clip(INT16_MIN, INT16_MAX).astype("<i2")
        (sounding,) = rounded.nonzero()
        if not len(sounding):
            self.num_pending_zeros += len(rounded) if self.num_samples else 0
            return
        first, end = int(sounding[0]), int(sounding[-1]) + 1
        if self.num_samples:
            while self.num_pending_zeros:
                zeros = np.zeros(min(self.num_pending_zeros, BLOCK_SAMPLES), "<i2")
                self._hash(zeros)
                self.num_pending_zeros -= len(zeros)
            first = 0
        self._hash(rounded[first:end])
        self.num_pending_zeros = len(rounded) - end

    def compute(self, min_s: float = MIN_CONTENT_S) -> int:
        """Return the identity as a signed 64-bit number; `NO_CONTENT` for what has none.

        Args:
            min_s: seconds of sound below which a recording has none.
        """
        if self.num_samples < min_s * self.sample_rate or self.low >= self.high:
            return NO_CONTENT
        digest = self.digest.copy()
        digest.update(f" at {self.sample_rate} Hz".encode())
        return int.from_bytes(digest.digest(), "big", signed=True)

    def _hash(self, rounded: np.ndarray) -> None:
        self.digest.update(rounded.tobytes())
        self.num_samples += len(rounded)
        self.low, self.high = min(self.low, int(rounded.min())), max(self.high, int(rounded.max()))


def compute_content(recording: Path | AudioClip, min_s: float = MIN_CONTENT_S) -> int:
    """Decode a recording for its identity alone; where it is decoded anyway, a `ContentHasher` watches.

    Args:
        recording: a file or clip.
        min_s: seconds of sound below which a recording has no identity.

    Raises:
        UtteranceError: the file cannot be decoded.
    """
    hasher = ContentHasher()
    mix, blocks = choose_channel_mix(lambda: read_blocks(recording))
    for block in blocks:
        hasher.update(block, mix)
    return hasher.compute(min_s)


def compute_frames_content(frames: np.ndarray) -> int:
    """Return the identity of precomputed frames; `NO_CONTENT` if all values are equal.

    Args:
        frames: (frames, bins), float32 whatever the type in the file.
    """
    if not frames.size or frames.min() == frames.max():
        return NO_CONTENT
    digest = hashlib.blake2b(str(frames.shape).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(frames, "<f4").tobytes())
    return int.from_bytes(digest.digest(), "big", signed=True)
