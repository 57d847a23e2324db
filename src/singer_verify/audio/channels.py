"""Mixing of the channels of a recording to one, as a listener would; detection of two voices in two channels."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice

import numpy as np
from jaxtyping import Float

from singer_verify.audio.decoding import AudioBlock

VOICE_BAND_HZ = (150.0, 4000.0)
COMPARISON_SEGMENT_S = 1.0
MIN_SEGMENT_S = 0.1
MAX_HELD_VALUES = 1 << 24  # samples × channels; a longer recording is decoded again once its mix is known
SAME_LEVEL_DB = 1.0  # of channels about as loud, the first is taken
MIN_LIVE_LEVEL_DB = -30.0  # in the voice band, relative to the loudest channel: below is crosstalk or hiss
MIN_CENTRE_LEVEL_DB = -20.0  # relative to the loudest channel: above, the centre of a surround recording has the voice
# Power of a sum of channels relative to the sum of their powers: independent channels 1, equal ones their number.
MAX_CANCELLED_POWER = 0.5
MIN_CANCELLED_FRACTION = 0.2  # of the energy of a recording
MIN_INVERTED_CORRELATION = 0.9
MAX_LFE_CORRELATION = 0.3  # with the loudest channel: a channel of low-frequency effects holds no voice
MAX_OFFSET_DIFFERENCE = 0.02  # between the constant offsets of two channels
MIN_ACTIVE_POWER = 1e-6  # -60 dB relative to full scale
MIN_SOLO_LEVEL_DIFFERENCE_DB = 20.0  # a channel weaker than this contains only crosstalk
MAX_MICROPHONE_DELAY_S = 0.02  # between two microphones recording one singer
# Correlation at the best delay. Two RAVDESS singers, one per channel: 0.05 to 0.07; one singer with strong
# reverberation that differs between the channels: at least 0.22.
MIN_SAME_VOICE_CORRELATION = 0.15
MIN_SOLO_FRACTION = 0.2  # of the active segments, for each of two singers who take turns
CENTRE_NAMES, LFE_NAMES = ("FC",), ("LFE", "LFE2")
FRONT_NAMES = ("FL", "FR", "FLC", "FRC")
STANDARD_NAMES = {  # order of the channels where the file does not name them
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}


@dataclass(frozen=True)
class ChannelWeights:
    """Weights of channels in a mix.

    Attributes:
        weights: (channels,), weight of each channel; None is the mean of all.
        offset: constant to subtract from the mix.
        remark: what had to be chosen, as the rest of a sentence about the recording; empty for the mean of all.
    """

    weights: Float[np.ndarray, " channels"] | None = None
    offset: float = 0.0
    remark: str = ""

    def apply(self, samples: Float[np.ndarray, "samples channels"]) -> Float[np.ndarray, " samples"]:
        """Mix samples, float32."""
        if self.weights is None:
            return samples.mean(axis=1, dtype=np.float32)
        used = np.flatnonzero(self.weights)
        mixed = samples[:, used] @ self.weights[used].astype(np.float32) - np.float32(self.offset)
        return np.ascontiguousarray(mixed, np.float32)


MEAN_OF_CHANNELS = ChannelWeights()


@dataclass
class ChannelMix:
    """The mix of the channels of a recording, whose number may change where files were joined.

    Attributes:
        weights: weights by the number of channels they are for; the mean is taken for numbers that are not there.
    """

    weights: dict[int, ChannelWeights] = field(default_factory=dict)

    @property
    def remark(self) -> str:
        """What had to be chosen, as the rest of a sentence about the recording; empty for the mean of all."""
        remarks = {number: weights.remark for number, weights in self.weights.items() if weights.remark}
        if len(self.weights) == 1:
            return next(iter(remarks.values()), "")
        return "; ".join(f"where it has {number} channels, {remark}" for number, remark in remarks.items())

    def apply(self, samples: Float[np.ndarray, "samples channels"]) -> Float[np.ndarray, " samples"]:
        """Mix samples, float32."""
        return self.weights.get(samples.shape[1], MEAN_OF_CHANNELS).apply(samples)


def choose_channel_mix(read: Callable[[], Iterator[AudioBlock]]) -> tuple[ChannelMix, Iterator[AudioBlock]]:
    """Choose the mix of a recording's channels that keeps the voice, from all of the recording.

    The mean of all channels, as long as they do not cancel each other. Else one channel inverted, if that is what was
    wrong, or the loudest channel alone. Silent channels are left out. Of a surround recording the centre is taken, if
    it holds sound, else the front; never the low-frequency effects.

    Args:
        read: function that begins to read the recording at each call.

    Returns:
        The mix, and the blocks of the recording. One of a single channel is read once. Of one that begins with a single
        channel, the mix of the rest is chosen when its blocks get there.
    """
    mix = ChannelMix()

    def iterate_blocks() -> Iterator[AudioBlock]:
        blocks = read()
        for num_mono, block in enumerate(blocks):
            if block.samples.shape[1] > 1:
                read_rest = partial(_read_from, read, num_mono)
                yield from _choose_weights(mix, chain([block], blocks), read_rest)
                return
            mix.weights[1] = MEAN_OF_CHANNELS
            yield block

    blocks = iterate_blocks()
    first = next(blocks, None)
    return mix, iter(()) if first is None else chain([first], blocks)


def _read_from(read: Callable[[], Iterator[AudioBlock]], first: int) -> Iterator[AudioBlock]:
    return islice(read(), first, None)


def _choose_weights(
    mix: ChannelMix, blocks: Iterator[AudioBlock], read: Callable[[], Iterator[AudioBlock]]
) -> Iterator[AudioBlock]:
    """Choose the weights for each number of channels in some blocks, add them to a mix, and return the blocks."""
    covariances: dict[int, ChannelCovariance] = {}
    held: list[AudioBlock] | None = []
    num_held = 0
    for block in blocks:
        num_channels = block.samples.shape[1]
        if num_channels not in covariances:
            covariances[num_channels] = ChannelCovariance(num_channels, block.channel_names)
        covariances[num_channels].update(block)
        num_held += block.samples.size
        if num_held > MAX_HELD_VALUES:
            held = None
        if held is not None:
            held.append(block)
    for num_channels, covariance in covariances.items():
        mix.weights[num_channels] = MEAN_OF_CHANNELS if num_channels == 1 else covariance.choose_weights()
    return read() if held is None else iter(held)


class ChannelCovariance:
    """Streaming covariance of channels in the voice band, segment by segment of one second.

    Args:
        num_channels: number of channels.
        names: FFmpeg's names of the channels; empty if the file does not tell.
    """

    def __init__(self, num_channels: int, names: tuple[str, ...] = ()) -> None:
        self.names = names or STANDARD_NAMES.get(num_channels, ())
        self.has_certain_names = bool(names)
        self.segments: list[Float[np.ndarray, "channels channels"]] = []
        self.sums = np.zeros(num_channels)
        self.num_samples = 0

    def update(self, block: AudioBlock) -> None:
        """Add a block of this number of channels; one that holds NaN or infinite samples is left out."""
        samples, length = block.samples, round(COMPARISON_SEGMENT_S * block.sample_rate)
        if not np.isfinite(samples).all():
            return  # refused when the recording is mixed
        min_length = min(round(MIN_SEGMENT_S * block.sample_rate), len(samples))
        for start in range(0, len(samples), length):
            segment = samples[start : start + length]
            if len(segment) >= min_length:
                covariance, sums = compute_voice_band_covariance(segment, block.sample_rate)
                self.segments.append(covariance)
                self.sums += sums
                self.num_samples += len(segment)

    def choose_weights(self) -> ChannelWeights:
        """Choose the weights of the channels, see `choose_channel_mix`."""
        segments = np.array(self.segments).reshape(len(self.segments), len(self.sums), len(self.sums))
        covariance = segments.sum(axis=0)
        powers = np.diag(covariance)
        if powers.max() <= 0.0:
            return MEAN_OF_CHANNELS
        every = np.arange(len(powers))
        group, place = every, ""
        if len(every) > 2:
            group, place = _choose_surround_channels(self.names, covariance, self.has_certain_names)
        loudest = group[(powers[group] > powers[group].max() * 10.0 ** (-SAME_LEVEL_DB / 10.0)).argmax()]
        live = group[powers[group] > powers[loudest] * 10.0 ** (MIN_LIVE_LEVEL_DB / 10.0)]
        signs, remark = np.ones(len(live)), place
        if len(live) == 1:
            remark = place or f"only its channel {loudest + 1} holds sound, and was taken alone"
        elif len(live) < len(group) and len(group) == len(every):
            remark = f"only its channels {_format_numbers(live)} hold sound, and were taken"
        if _is_cancelled(segments, live):
            correlations = covariance[loudest, live] / np.sqrt(powers[loudest] * powers[live])
            if (
                _is_cancelled(segments, live, np.sign(correlations))
                or np.abs(correlations).min() < MIN_INVERTED_CORRELATION
            ):
                live, signs = np.array([loudest]), np.ones(1)
                remark = f"its channels cancel each other; channel {loudest + 1} was taken alone"
            else:
                signs = np.sign(correlations)
                inverted = _format_numbers(live[signs < 0])
                remark = f"its channels cancel each other; channel {inverted} was inverted before their mean was taken"
        weights = np.zeros(len(powers))
        weights[live] = signs / len(live)
        offsets = self.sums / self.num_samples
        has_offset = np.ptp(offsets[live]) > MAX_OFFSET_DIFFERENCE
        if (weights == 1.0 / len(powers)).all() and not has_offset:
            return MEAN_OF_CHANNELS
        return ChannelWeights(weights, float(offsets @ weights) if has_offset else 0.0, remark)


def compute_voice_band_covariance(
    segment: Float[np.ndarray, "samples channels"], sample_rate: int
) -> tuple[Float[np.ndarray, "channels channels"], Float[np.ndarray, " channels"]]:
    """Return the sums of products of channels in the voice band, and the sum of each channel."""
    spectrum = np.fft.rfft(segment, axis=0)
    sums = spectrum[0].real.astype(np.float64)
    frequencies = np.fft.rfftfreq(len(segment), 1.0 / sample_rate)
    spectrum = spectrum[(frequencies >= VOICE_BAND_HZ[0]) & (frequencies <= VOICE_BAND_HZ[1])]
    return (spectrum.conj().T @ spectrum).real.astype(np.float64) * (2.0 / len(segment)), sums


def _choose_surround_channels(
    names: tuple[str, ...], covariance: Float[np.ndarray, "channels channels"], are_certain: bool
) -> tuple[np.ndarray, str]:
    """Return the channels that hold the voice of a surround recording, and a remark; all if it is none."""
    every, powers = np.arange(len(covariance)), np.diag(covariance)
    if len(names) != len(every) or not set(names) & {*CENTRE_NAMES, *LFE_NAMES}:
        return every, ""
    effects = np.array([name in LFE_NAMES for name in names])
    loudest = int(np.where(effects, -1.0, powers).argmax())
    if not are_certain and effects.any():  # of microphones, the fourth holds the voice too
        norms = np.sqrt(powers[loudest] * powers[effects])
        if (np.abs(covariance[loudest, effects]) > MAX_LFE_CORRELATION * norms).any() and norms.all():
            return every, ""
    others = every[~effects]
    min_power = powers[loudest] * 10.0 ** (MIN_CENTRE_LEVEL_DB / 10.0)
    for group_names, place in ((CENTRE_NAMES, "centre"), (FRONT_NAMES, "front")):
        group = np.array([index for index in others if names[index] in group_names], int)
        if len(group) and powers[group].max() >= min_power and powers[group].max() > 0:
            return group, f"of its {len(every)} channels the {place} was taken, where the voice is"
    return others, "its LFE channel was left out" if effects.any() else ""


def _is_cancelled(
    segments: Float[np.ndarray, "segments channels channels"],
    channels: np.ndarray,
    signs: Float[np.ndarray, " channels"] | None = None,
) -> bool:
    """Return whether a notable part of the energy of some channels is lost in their sum."""
    chosen = segments[:, channels[:, None], channels]
    powers = np.einsum("scc->s", chosen)
    signs = np.ones(len(channels)) if signs is None else signs
    summed = np.einsum("scd,c,d->s", chosen, signs, signs)
    lost = powers[summed < MAX_CANCELLED_POWER * powers].sum()
    return bool(lost > MIN_CANCELLED_FRACTION * powers.sum())


def _format_numbers(channels: np.ndarray) -> str:
    return ", ".join(str(channel + 1) for channel in channels)


class TwoVoiceDetector:
    """Streaming test of whether the two channels of a stereo recording hold different voices.

    They do if both channels are active at once and, in most segments of one second, uncorrelated at every delay up to
    20 ms; or if each is active alone in at least a fifth of the segments. One singer recorded by two microphones, or
    with reverberation, gives correlated channels. So do two singers who are each audible in the other's channel: they
    go undetected.
    """

    def __init__(self) -> None:
        self.num_solo_segments = np.zeros(2, int)
        self.correlations: list[float] = []

    def update(self, block: AudioBlock) -> None:
        if block.samples.shape[1] != 2:
            return
        length = min(round(COMPARISON_SEGMENT_S * block.sample_rate), len(block.samples))
        for first in range(0, len(block.samples) - length + 1, max(length, 1)):
            self._update_from_segment(block.samples[first : first + length].astype(np.float64), block.sample_rate)

    @property
    def has_two_voices(self) -> bool:
        num_segments = len(self.correlations) + int(self.num_solo_segments.sum())
        take_turns = num_segments > 0 and bool((self.num_solo_segments >= MIN_SOLO_FRACTION * num_segments).all())
        return take_turns or (
            bool(self.correlations) and float(np.median(self.correlations)) < MIN_SAME_VOICE_CORRELATION
        )

    def _update_from_segment(self, segment: Float[np.ndarray, "samples 2"], sample_rate: int) -> None:
        segment = segment - segment.mean(axis=0)
        power = np.square(segment).mean(axis=0)
        if power.max() < MIN_ACTIVE_POWER:
            return
        if power.min() < power.max() * 10.0 ** (-MIN_SOLO_LEVEL_DIFFERENCE_DB / 10.0):
            self.num_solo_segments[power.argmax()] += 1
        else:
            self.correlations.append(compute_max_correlation(segment, round(MAX_MICROPHONE_DELAY_S * sample_rate)))


def compute_max_correlation(segment: Float[np.ndarray, "samples 2"], max_delay_samples: int) -> float:
    """Return the largest magnitude of the correlation of two channels over all delays up to a maximum.

    Returns early with the correlation at zero delay if that is already high enough for the same voice.

    Args:
        segment: (samples, 2), zero mean.
        max_delay_samples: largest delay in either direction, in samples.
    """
    left, right = segment.T
    norm = float(np.sqrt(np.square(left).sum() * np.square(right).sum()))
    zero_lag_correlation = float(abs(left @ right)) / norm
    if zero_lag_correlation >= MIN_SAME_VOICE_CORRELATION:
        return zero_lag_correlation
    length = 1 << (len(left) + max_delay_samples).bit_length()
    product = np.fft.rfft(left, length) * np.fft.rfft(right, length).conj()
    correlation = np.abs(np.fft.irfft(product, length))
    return float(max(correlation[: max_delay_samples + 1].max(), correlation[-max_delay_samples:].max())) / norm
