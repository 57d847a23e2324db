"""A source-filter synthesiser of singing (Fant 1960): glottal pulses and breath, shaped by formants.

What identifies a singer (`Voice`) is constant; everything else (`Take`: melody, vowel, key, technique, articulation,
recording) varies from utterance to utterance and carries no information about the singer.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

SAMPLE_RATE = 16_000
PULSE_RATE = 4 * SAMPLE_RATE  # oversampled, so that aliases of the pulses' corners are inaudible
CONTROL_RATE = 200  # of pitch and level curves and of formants, per second
HOP = SAMPLE_RATE // CONTROL_RATE
FILTER_SAMPLES = 320  # Hann windows of 20 ms in which the formants stand still, four of them overlapping
FILTER_FFT = 1024  # room for the formants to ring after a window

# Mean formants of 45 men, Hillenbrand et al. 1995, JASA 97, 3099, table V; the fifth is that of a 17 cm tube.
FORMANTS_HZ = {
    "a": (768.0, 1333.0, 2522.0, 3687.0, 4500.0),
    "e": (476.0, 2089.0, 2691.0, 3649.0, 4500.0),
    "i": (342.0, 2322.0, 3000.0, 3657.0, 4500.0),
    "o": (497.0, 910.0, 2459.0, 3384.0, 4500.0),
    "u": (378.0, 997.0, 2343.0, 3357.0, 4500.0),
}
SCHWA_HZ = np.array([500.0, 1500.0, 2500.0, 3500.0, 4500.0])
VOWEL_SPREAD = 0.4  # of the way from the schwa to a spoken vowel: sung vowels are closer together
BANDWIDTHS_HZ = np.array([60.0, 80.0, 120.0, 175.0, 250.0])
MEN_TRACT_CM = 17.0
TILT_FROM_HZ = 500.0
TROUGH_DB = 12.0  # depth of the zero of the piriform sinuses (Dang & Honda 1997, JASA 101, 456)
RMS_DB = -33.0  # of full scale, at no gain
ROOM_DB = -78.0


class Melody(NamedTuple):
    """Notes in semitones above the key, and their relative lengths."""

    semitones: tuple[int, ...]
    beats: tuple[int, ...]


class Technique(NamedTuple):
    """Changes to the singer's usual way of singing."""

    vibrato: float = 0.8  # share of the singer's extent
    breath_db: float = 0.0
    tilt_db: float = 0.0  # per octave
    level_db: float = 0.0


MELODIES = {
    "scales": Melody((0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5, 4, 2, 0), (1,) * 14 + (2,)),
    "arpeggios": Melody((0, 4, 7, 12, 7, 4, 0), (1,) * 6 + (2,)),
    "long_tones": Melody((4, 7), (1, 1)),
    "excerpt": Melody((0, 0, 0, 2, 4, 4, 2, 4, 5, 7), (3, 3, 2, 1, 3, 2, 1, 2, 1, 6)),  # "Row, row, row your boat"
    "sustained": Melody((0,), (1,)),
}
TECHNIQUES = {
    "straight": Technique(vibrato=0.1),
    "vibrato": Technique(vibrato=1.2),
    "breathy": Technique(breath_db=7.0, tilt_db=1.5, level_db=-5.0),
    "forte": Technique(breath_db=-2.0, tilt_db=-1.0, level_db=4.0),
    "belt": Technique(vibrato=0.5, breath_db=-3.0, tilt_db=-1.5, level_db=6.0),
    "pp": Technique(breath_db=3.0, tilt_db=1.0, level_db=-8.0),
}


@dataclass(frozen=True)
class Voice:
    """A singer's identity, the same in all utterances."""

    tract_cm: float  # length of the vocal tract: all formants scale with its inverse
    formant_1: float  # deviation of a formant from the table, as a share of it
    formant_2: float
    formant_3: float
    formant_4: float
    formant_5: float
    bandwidth: float  # share of the usual bandwidth
    open_quotient: float  # share of a period in which the glottis is open
    tilt_db: float  # loss of the source per octave above TILT_FROM_HZ, beyond that of the pulse
    breath_db: float  # noise in the open glottis, relative to the pulses
    jitter: float  # standard deviation of a period, as a share of it
    shimmer_db: float  # standard deviation of a pulse's level
    vibrato_hz: float
    vibrato_semitones: float  # extent, from the middle to the top
    vibrato_onset_s: float  # straight beginning of a note
    glide_s: float  # from note to note
    ring_hz: float  # the singer's formant (Sundberg 1974, JASA 55, 838), in a tract of MEN_TRACT_CM
    ring_db: float
    trough_hz: float  # in a tract of MEN_TRACT_CM


@dataclass(frozen=True)
class Take:
    """One utterance: what is sung and how it is recorded, independent of the singer."""

    exercise: str
    technique: str
    vowel: str
    key_midi: float
    duration_s: float
    articulation: FloatArray  # (5,), factor on each formant
    gain_db: float
    recording_tilt_db: float  # per octave above 200 Hz

    @property
    def num_controls(self) -> int:
        return round(self.duration_s * CONTROL_RATE)


def sing(voice: Voice, take: Take, rng: np.random.Generator) -> FloatArray:
    """Synthesise samples in [-1, 1] at SAMPLE_RATE."""
    pitch_hz, level = compute_pitch_and_level(voice, take, rng)
    source = synthesise_glottal_source(voice, take, pitch_hz, rng) * resample_curve(level, SAMPLE_RATE)
    return record(take, apply_vocal_tract(voice, source, compute_formant_tracks(voice, take, pitch_hz, rng)), rng)


def compute_pitch_and_level(voice: Voice, take: Take, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Compute curves of f0 in Hz and of amplitude, at CONTROL_RATE."""
    melody, technique = MELODIES[take.exercise], TECHNIQUES[take.technique]
    time_s = np.arange(take.num_controls) / CONTROL_RATE
    starts_s = np.cumsum((0, *melody.beats[:-1])) / sum(melody.beats) * take.duration_s
    note = np.searchsorted(starts_s, time_s, side="right") - 1
    in_note_s = time_s - starts_s[note]
    intonation = rng.normal(0.0, 0.12, len(starts_s))[note]
    notes_midi = smooth(take.key_midi + np.array(melody.semitones)[note] + intonation, voice.glide_s)
    rate_hz = voice.vibrato_hz * (1.0 + 0.05 * draw_drift(rng, take.num_controls))
    swell = np.clip((in_note_s - voice.vibrato_onset_s) / 0.2, 0.0, 1.0)
    vibrato = swell * np.sin(2 * np.pi * np.cumsum(rate_hz) / CONTROL_RATE) * technique.vibrato
    midi = notes_midi + voice.vibrato_semitones * vibrato + 0.1 * draw_drift(rng, take.num_controls)
    attack = smooth(0.6 + 0.4 * np.clip(in_note_s / 0.08, 0.0, 1.0), 0.03)
    phrase = np.clip(np.minimum(time_s - 0.04, take.duration_s - 0.06 - time_s) / 0.1, 0.0, 1.0)
    level_db = technique.level_db + vibrato + 1.5 * draw_drift(rng, take.num_controls)
    return 440.0 * 2 ** ((midi - 69.0) / 12), attack * phrase * 10 ** (level_db / 20)


def synthesise_glottal_source(voice: Voice, take: Take, pitch_hz: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Synthesise tilted Rosenberg pulses (1971, JASA 49, 583, type B), and the noise of the open glottis.

    Their derivative accounts for the radiation from the lips.
    """
    technique, fine_hz = TECHNIQUES[take.technique], resample_curve(pitch_hz, PULSE_RATE)
    cycle = np.floor(np.cumsum(fine_hz) / PULSE_RATE).astype(int)
    periods = 1.0 + voice.jitter * rng.normal(size=cycle[-1] + 1)
    phase = np.cumsum(fine_hz * periods[cycle]) / PULSE_RATE % 1.0
    opening, closing = 0.65 * voice.open_quotient, 0.35 * voice.open_quotient
    rise, fall = phase / opening, (phase - opening) / closing
    slope = np.where(rise < 1.0, 6 * rise * (1 - rise) / opening, np.where(fall < 1.0, -2 * fall / closing, 0.0))
    shimmer = 10 ** (voice.shimmer_db * rng.normal(size=cycle[-1] + 1) / 20)
    num_samples = take.num_controls * HOP
    pulses = apply_tilt(slope * shimmer[cycle], num_samples, voice.tilt_db + technique.tilt_db, TILT_FROM_HZ)
    is_open = (phase < voice.open_quotient)[:: PULSE_RATE // SAMPLE_RATE]
    breath = rng.normal(size=num_samples) * np.where(is_open, 1.0, 0.3)
    return pulses / compute_rms(pulses) + breath * 10 ** ((voice.breath_db + technique.breath_db) / 20)


def compute_formant_tracks(voice: Voice, take: Take, pitch_hz: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Compute the formants (controls, 5) in Hz of the vowel in this singer's tract, with articulation and drift."""
    vowel_hz = SCHWA_HZ * (np.array(FORMANTS_HZ[take.vowel]) / SCHWA_HZ) ** VOWEL_SPREAD
    own = 1.0 + np.array([voice.formant_1, voice.formant_2, voice.formant_3, voice.formant_4, voice.formant_5])
    movement = np.stack([draw_drift(rng, len(pitch_hz)) for _ in SCHWA_HZ], axis=1)
    tracks_hz = vowel_hz * own * take.articulation * (MEN_TRACT_CM / voice.tract_cm) * (1.0 + 0.015 * movement)
    tracks_hz[:, 0] = np.maximum(tracks_hz[:, 0], pitch_hz)  # the jaw opens before the pitch leaves the formant
    return tracks_hz


def apply_vocal_tract(voice: Voice, source: FloatArray, formants_hz: FloatArray) -> FloatArray:
    """Filter with a cascade of two-pole resonators (Klatt 1980, JASA 67, 971), applied to overlapping windows."""
    padded = np.pad(source, FILTER_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FILTER_SAMPLES)[::HOP][: len(formants_hz)]
    window = np.hanning(FILTER_SAMPLES + 1)[:-1] * 2 * HOP / FILTER_SAMPLES
    radius = np.exp(-np.pi * BANDWIDTHS_HZ * voice.bandwidth / SAMPLE_RATE)
    linear = -2 * radius * np.cos(2 * np.pi * formants_hz / SAMPLE_RATE)
    delay = np.exp(-2j * np.pi * np.arange(FILTER_FFT // 2 + 1) / FILTER_FFT)
    larynx = 10 ** (compute_ring_and_trough_db(voice, len(delay)) / 20)
    response = np.broadcast_to(larynx, (len(formants_hz), len(delay)))
    for a, b in zip(linear.T[:, :, None], radius**2, strict=True):
        response = response * (1 + a + b) / (1 + a * delay + b * delay**2)
    shaped = np.fft.irfft(np.fft.rfft(frames * window, FILTER_FFT) * response, FILTER_FFT)
    sung = np.zeros(len(padded) + FILTER_FFT)
    for number, frame in enumerate(shaped):
        sung[number * HOP : number * HOP + FILTER_FFT] += frame
    return sung[FILTER_SAMPLES // 2 :][: len(source)]


def compute_ring_and_trough_db(voice: Voice, num_frequencies: int) -> FloatArray:
    """Compute the (frequencies,) effect of the larynx tube on the spectrum."""
    frequencies_hz = np.linspace(1.0, SAMPLE_RATE / 2, num_frequencies) * voice.tract_cm / MEN_TRACT_CM
    ring = voice.ring_db * np.exp(-0.5 * (np.log2(frequencies_hz / voice.ring_hz) / 0.2) ** 2)
    return ring - TROUGH_DB * np.exp(-0.5 * (np.log2(frequencies_hz / voice.trough_hz) / 0.12) ** 2)


def record(take: Take, sung: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Simulate microphone and room: gain, a slight tilt, a noise floor.

    Loudness follows the technique, not the vowel.
    """
    coloured = apply_tilt(sung, len(sung), take.recording_tilt_db, 200.0)
    gain_db = RMS_DB + take.gain_db + TECHNIQUES[take.technique].level_db
    samples = coloured / compute_rms(coloured) * 10 ** (gain_db / 20) + rng.normal(0.0, 10 ** (ROOM_DB / 20), len(sung))
    return samples * min(1.0, 0.95 / float(np.abs(samples).max()))


def apply_tilt(samples: FloatArray, num_samples: int, tilt_db: float, from_hz: float) -> FloatArray:
    """Attenuate by `tilt_db` per octave above `from_hz`, and resample to `num_samples`."""
    spectrum = np.fft.rfft(samples)[: num_samples // 2 + 1]
    octaves = np.log2(np.maximum(np.linspace(0, SAMPLE_RATE / 2, len(spectrum)) / from_hz, 1.0))
    return np.fft.irfft(spectrum * 10 ** (-tilt_db * octaves / 20), num_samples)


def compute_rms(samples: FloatArray) -> float:
    """Compute the root mean square."""
    return float(np.sqrt(np.mean(samples**2)))


def resample_curve(curve: FloatArray, rate: int) -> FloatArray:
    """Resample a curve from CONTROL_RATE to `rate` per second."""
    return np.interp(np.arange(len(curve) * rate // CONTROL_RATE) * CONTROL_RATE / rate, np.arange(len(curve)), curve)


def smooth(curve: FloatArray, width_s: float) -> FloatArray:
    """Average over a Hann window of the given width; the ends are extended."""
    half = max(1, round(width_s * CONTROL_RATE / 2))
    window = np.hanning(2 * half + 3)[1:-1]
    return np.convolve(np.pad(curve, half, mode="edge"), window / window.sum(), mode="valid")


def draw_drift(rng: np.random.Generator, num_controls: int) -> FloatArray:
    """Draw a slow random curve of about unit deviation that changes direction four times a second."""
    knots = rng.normal(size=num_controls * 4 // CONTROL_RATE + 2)
    return smooth(np.interp(np.arange(num_controls) * 4 / CONTROL_RATE, np.arange(len(knots)), knots), 0.2)
