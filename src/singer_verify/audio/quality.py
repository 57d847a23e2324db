"""Faults of a recording that can be measured: clipping, mains hum, noise, a cut-off spectrum, missing voice.

Everything is measured at the recording's own sample rate, before anything that a recipe does.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
import scipy.signal
from jaxtyping import Bool, Float
from scipy.ndimage import median_filter

from singer_verify.audio.activity import ActivityMeter
from singer_verify.audio.channels import TwoVoiceDetector, choose_channel_mix
from singer_verify.audio.clip import AudioClip, read_blocks
from singer_verify.audio.content import NO_CONTENT, ContentHasher
from singer_verify.audio.fingerprint import Landmarks, compute_landmarks
from singer_verify.audio.loading import downmix_and_resample
from singer_verify.audio.measures import compute_step_power, find_loud_steps
from singer_verify.audio.voicing import TINY, compute_step_samples
from singer_verify.errors import UtteranceError

SPECTRUM_S, SPECTRUM_HOP_S = 0.4, 0.1  # lines 2.5 Hz apart: hum is told from a low voice
PAUSE_PERCENTILE = 10.0  # of the windows, at each frequency: what is left between notes and partials
# Of an exponential distribution, as powers of noise have, the tenth percentile is 0.105 of the mean.
PAUSE_CORRECTION = -1.0 / np.log(1.0 - PAUSE_PERCENTILE / 100.0)
FLAT_TOLERANCE, ROUNDING = 2e-4, 0.6 / 32768  # of samples at the same extreme: relative, and of 16 bits
MIN_CLIPPED_PEAK = 0.01  # below, extremes repeat by rounding
MIN_FLAT_SAMPLES = 3  # in a row: a wave that is not cut off seldom has three equal extremes
MAINS_HZ, NUM_MAINS_HARMONICS = (50.0, 60.0), 6
LINE_HZ, BESIDE_HZ = 2.6, (6.0, 20.0)  # half width of a line, and distances of what it is compared with
MIN_HUM_LINES = 2  # a single one may be a drone, or a low note held
MIN_LINE_PROMINENCE = 10.0  # of a line of hum over its surroundings, as a ratio of powers (10 dB)
NOISE_SMOOTHING_HZ = 200.0  # partials take less than half of it
CUTOFF_BAND_HZ, CUTOFF_GAP_HZ = 600.0, 400.0  # bands compared across a cut-off, and the slope between them
LOWEST_CUTOFF_HZ, CUTOFF_STEP_HZ = 1500.0, 100.0
LOWEST_BAND_HZ, BANDS_PER_OCTAVE, NUM_BANDS = 125.0, 3, 21  # up to 12.7 kHz
MAX_WINDOWS = 600


@dataclass(frozen=True)
class QualityMeasures:
    """What can be said of a recording without knowing who sings.

    Attributes:
        duration_s: duration in seconds.
        sample_rate: sample rate in Hz.
        num_channels: number of channels.
        level_db: level of its loud steps of 10 ms, in dB relative to full scale.
        peak: largest magnitude of a sample, 1 at full scale.
        clipped_share: share of the samples in flat tops: three or more in a row at the extreme of a channel.
        noise_db: level of the sound that never pauses, relative to `level_db`, without lines of hum; in a few seconds
            with few pauses, up to 3 dB too high.
        hum_db: power of lines at harmonics of 50 or 60 Hz that never pause, relative to `level_db`; -inf without any.
        mains_hz: 50 or 60, whichever `hum_db` is of.
        cutoff_hz: frequency above which the spectrum falls steepest.
        cutoff_db: by how much it falls there, and stays down.
        voice_s: seconds of voice.
        has_two_voices: whether two channels hold different voices.
        bands_db: (bands,), long-term spectrum in thirds of an octave from 125 Hz up, relative to its mean; NaN above
            the recording's own range.
        content: identity of what it sounds like.
        landmarks: fingerprint.
        remark: what had to be chosen to mix its channels.
    """

    duration_s: float
    sample_rate: int
    num_channels: int
    level_db: float
    peak: float
    clipped_share: float
    noise_db: float
    hum_db: float
    mains_hz: float
    cutoff_hz: float
    cutoff_db: float
    voice_s: float
    has_two_voices: bool
    bands_db: Float[np.ndarray, " bands"]
    content: int = NO_CONTENT
    landmarks: Landmarks | None = None
    remark: str = ""

    @property
    def voice_share(self) -> float:
        """Share of its time in which a voice sounds."""
        return self.voice_s / self.duration_s


def measure_quality(recording: Path | AudioClip) -> QualityMeasures:
    """Measure a recording.

    Raises:
        UtteranceError: it cannot be decoded, or is empty, silent or broken, see `load_audio`.
    """
    mix, blocks = choose_channel_mix(lambda: read_blocks(recording))
    hasher, detector = ContentHasher(), TwoVoiceDetector()
    held = []
    for block in hasher.watch(blocks, mix):
        detector.update(block)
        held.append(block)
    if not held:
        raise UtteranceError(f"{recording}: contains no samples; record it again or delete it.")
    rate = held[0].sample_rate  # its own: what resampling would take away is looked for
    samples = np.concatenate(list(downmix_and_resample(held, mix, str(recording), rate, 0.0)))
    power = compute_step_power(samples, compute_step_samples(rate))
    is_loud = find_loud_steps(power)
    level = float(power[is_loud].mean()) if is_loud.any() else TINY
    meter = ActivityMeter(rate)
    meter.update(samples)
    spectrum = _measure_spectrum(samples, rate)
    hum, mains_hz, is_line = _find_hum(spectrum)
    cutoff_hz, cutoff_db = _find_cutoff(spectrum)
    return QualityMeasures(
        duration_s=len(samples) / rate,
        sample_rate=rate,
        num_channels=max(block.samples.shape[1] for block in held),
        level_db=_to_db(level),
        peak=max(float(np.abs(block.samples).max()) for block in held),
        clipped_share=_measure_clipping([block.samples for block in held]),
        noise_db=_to_db(_measure_noise(spectrum, is_line) / level),
        hum_db=_to_db(hum / level) if hum else -np.inf,
        mains_hz=mains_hz,
        cutoff_hz=cutoff_hz,
        cutoff_db=cutoff_db,
        voice_s=meter.compute().find_voice().voice_s,
        has_two_voices=detector.has_two_voices,
        bands_db=_compute_bands(spectrum),
        content=hasher.compute(),
        landmarks=compute_landmarks(samples, rate),
        remark=mix.remark,
    )


def _to_db(power: float) -> float:
    return float(10.0 * np.log10(max(power, TINY)))


def _measure_clipping(blocks: list[Float[np.ndarray, "_ _"]]) -> float:
    """Return the share of samples in flat tops, of the channel that has most of them."""
    num_channels = min(block.shape[1] for block in blocks)
    shares = []
    for channel in range(num_channels):
        samples = np.concatenate([block[:, channel] for block in blocks])
        flat = 0
        for extreme in (float(samples.max()), float(samples.min())):
            if abs(extreme) < MIN_CLIPPED_PEAK:
                continue
            is_extreme = np.abs(samples - extreme) <= max(FLAT_TOLERANCE * abs(extreme), ROUNDING)
            edges = np.flatnonzero(np.diff(np.concatenate([[False], is_extreme, [False]]))).reshape(-1, 2)
            lengths = edges[:, 1] - edges[:, 0]
            flat += int(lengths[lengths >= MIN_FLAT_SAMPLES].sum())
        shares.append(flat / len(samples))
    return max(shares)


@dataclass(frozen=True)
class _Spectrum:
    """Long-term spectra in windows of 0.4 s.

    Attributes:
        bin_hz: distance of the lines.
        mean: (lines,), mean power.
        pause: (lines,), power that never pauses: that of the quietest tenth of the windows, at each line.
    """

    bin_hz: float
    mean: Float[np.ndarray, " lines"]
    pause: Float[np.ndarray, " lines"]


def _measure_spectrum(samples: Float[np.ndarray, " samples"], rate: int) -> _Spectrum:
    """Measure the power at each frequency, so that the sum over lines is the mean square of the samples."""
    length = min(round(SPECTRUM_S * rate), len(samples))
    hop = max(round(SPECTRUM_HOP_S * rate), 1)
    window = scipy.signal.get_window("hann", length).astype(np.float32)
    starts = np.arange(0, len(samples) - length + 1, hop)
    step = max(1, len(starts) // MAX_WINDOWS)  # hours need no more windows than minutes
    rows = []
    for start in starts[::step]:
        part = samples[start : start + length]
        spectrum = scipy.fft.rfft((part - part.mean()) * window)
        rows.append(np.square(spectrum.real) + np.square(spectrum.imag))
    power = np.stack(rows) * (2.0 / (length * float(np.square(window).sum())))
    pause = np.percentile(power, PAUSE_PERCENTILE, axis=0) * PAUSE_CORRECTION
    return _Spectrum(rate / length, power.mean(axis=0), pause)


def _find_hum(spectrum: _Spectrum) -> tuple[float, float, Bool[np.ndarray, " lines"]]:
    """Find lines at harmonics of the mains that never pause.

    Returns:
        their power, 0 without any; 50 or 60 Hz; which lines they are.
    """
    best = 0.0, MAINS_HZ[0], np.zeros(len(spectrum.pause), bool)
    frequencies = np.arange(len(spectrum.pause)) * spectrum.bin_hz
    for mains_hz in MAINS_HZ:
        total, num_lines, is_hum = 0.0, 0, np.zeros(len(frequencies), bool)
        for harmonic in range(1, NUM_MAINS_HARMONICS + 1):
            distance = np.abs(frequencies - harmonic * mains_hz)
            is_line = distance <= LINE_HZ
            beside = spectrum.pause[(distance >= BESIDE_HZ[0]) & (distance <= BESIDE_HZ[1])]
            if not is_line.any() or not len(beside):
                continue
            if spectrum.pause[is_line].max() >= MIN_LINE_PROMINENCE * max(float(np.median(beside)), TINY):
                num_lines += 1
                total += float(spectrum.pause[is_line].sum()) / PAUSE_CORRECTION  # a steady line varies little
                is_hum |= distance <= BESIDE_HZ[0]
        if num_lines >= MIN_HUM_LINES and total > best[0]:
            best = total, mains_hz, is_hum
    return best


def _measure_noise(spectrum: _Spectrum, is_hum: Bool[np.ndarray, " lines"]) -> float:
    """Measure the power of the sound that never pauses and has no lines: partials of held notes and hum have."""
    between = np.where(is_hum, np.nan, spectrum.pause)
    width = max(round(NOISE_SMOOTHING_HZ / spectrum.bin_hz), 1)
    floor = median_filter(np.nan_to_num(between, nan=float(np.nanmedian(between))), width, mode="nearest")
    return float(floor.sum())


def _find_cutoff(spectrum: _Spectrum) -> tuple[float, float]:
    """Find where the long-term spectrum falls steepest and stays down, and by how many decibels.

    Compared are the mean of a band below, in dB, and the loudest band anywhere above.
    """
    width = max(round(CUTOFF_STEP_HZ / spectrum.bin_hz), 1)
    num_bands = len(spectrum.mean) // width
    bands = 10.0 * np.log10(np.maximum(spectrum.mean[: num_bands * width].reshape(num_bands, width).mean(axis=1), TINY))
    gap, below = round(CUTOFF_GAP_HZ / CUTOFF_STEP_HZ), round(CUTOFF_BAND_HZ / CUTOFF_STEP_HZ)
    first = max(round(LOWEST_CUTOFF_HZ / CUTOFF_STEP_HZ), below)
    # the last band may hold the slope of the recording's own converter
    last = num_bands - 1 - max(round(0.05 * num_bands), 1)
    best = 0.0, 0.0
    for band in range(first, last - gap + 1):
        fall = float(bands[band - below : band].mean() - bands[band + gap : last + 1].max())
        if fall > best[1]:
            best = (band + gap / 2) * CUTOFF_STEP_HZ, fall
    return best


def _compute_bands(spectrum: _Spectrum) -> Float[np.ndarray, " bands"]:
    """Compute the long-term spectrum in thirds of an octave, in dB relative to their mean."""
    centres = LOWEST_BAND_HZ * 2.0 ** (np.arange(NUM_BANDS) / BANDS_PER_OCTAVE)
    frequencies = np.arange(len(spectrum.mean)) * spectrum.bin_hz
    half = 2.0 ** (0.5 / BANDS_PER_OCTAVE)
    bands = np.full(NUM_BANDS, np.nan)
    for number, centre_hz in enumerate(centres):
        if centre_hz * half <= frequencies[-1] * 1.001:
            is_inside = (frequencies >= centre_hz / half) & (frequencies < centre_hz * half)
            bands[number] = _to_db(float(spectrum.mean[is_inside].mean()))
    result: np.ndarray = bands - np.nanmean(bands)
    return result
