"""A recording heard through once: its length, its loudness, and its samples where they are few enough to keep."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from singer_verify.audio.channels import ChannelComparison
from singer_verify.audio.decoding import Block
from singer_verify.audio.loading import mono
from singer_verify.audio.sound import Sound, blocks_of

LONGEST_KEPT_S = 120.0  # longer recordings are decoded again, block by block, whenever they are needed
POWER_STEP_S = 0.01


@dataclass(frozen=True)
class Heard:
    """What is known of a recording.

    Attributes:
        num_samples: at the sample rate asked for.
        sample_rate: that was asked for, in Hz.
        power: (steps,), mean square of the samples of each hundredth of a second.
        has_two_voices: its channels differ as voices do, see `ChannelComparison`.
        samples: all of them; None where the recording is too long to keep.
        blocks: the samples block by block, as often as it is called.
    """

    num_samples: int
    sample_rate: int
    power: Float[np.ndarray, " steps"]
    has_two_voices: bool
    samples: Float[np.ndarray, " samples"] | None
    blocks: Callable[[], Iterator[Float[np.ndarray, " samples"]]]

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate

    @property
    def power_step_s(self) -> float:
        return step_samples(self.sample_rate) / self.sample_rate


def hear(recording: Path | Sound, sample_rate: int, bandwidth_hz: float = 0.0) -> Heard:
    """Hear a recording through.

    Raises:
        UtteranceError: it cannot be used, see `load_audio`.
    """
    channels, power = ChannelComparison(), Power(sample_rate)

    def attended() -> Iterator[Block]:
        for block in blocks_of(recording):
            channels.hear(block)
            yield block

    def blocks() -> Iterator[Float[np.ndarray, " samples"]]:
        return mono(blocks_of(recording), str(recording), sample_rate, bandwidth_hz)

    num_samples, kept = 0, []
    for samples in mono(attended(), str(recording), sample_rate, bandwidth_hz):
        num_samples += len(samples)
        power.hear(samples)
        kept.append(samples)
        if num_samples > LONGEST_KEPT_S * sample_rate:
            kept.clear()
    is_kept = num_samples <= LONGEST_KEPT_S * sample_rate
    whole = np.concatenate(kept) if is_kept else None
    return Heard(num_samples, sample_rate, power.steps(), channels.differ, whole, blocks)


class Power:
    """Mean square of the samples of each hundredth of a second, of blocks one after another.

    Args:
        sample_rate: in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self.length = step_samples(sample_rate)
        self.rest = np.zeros(0, np.float32)
        self.found: list[np.ndarray] = []

    def hear(self, samples: Float[np.ndarray, " samples"]) -> None:
        joined = np.concatenate([self.rest, samples])
        whole = len(joined) // self.length * self.length
        self.found.append(np.square(joined[:whole].reshape(-1, self.length)).mean(axis=1))
        self.rest = joined[whole:]

    def steps(self) -> Float[np.ndarray, " steps"]:
        last = [np.square(self.rest).mean(keepdims=True)] if len(self.rest) else []
        return np.concatenate([*self.found, *last])


def step_samples(sample_rate: int) -> int:
    """A hundredth of a second, in whole samples."""
    return max(round(POWER_STEP_S * sample_rate), 1)
