"""Accompaniments to mix with a voice: excerpts of files, or synthesised chords, bass and drums."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from singer_verify.audio import AUDIO_SUFFIXES, load_audio
from singer_verify.corpora.file_search import find_recordings
from singer_verify.errors import SingerVerifyError, UtteranceError

PROGRESSION = ((0, 4, 7), (7, 11, 14), (9, 12, 16), (5, 9, 12))  # semitones above the tonic: I, V, vi, IV
BEATS_PER_CHORD = 4
NUM_PARTIALS = 8
MIN_TEMPO_BPM, MAX_TEMPO_BPM = 80.0, 130.0
CHECKED_SAMPLE_RATE = 16_000
MIN_EXCERPT_POWER, MAX_DRAWS = 0.1, 20  # of the power of the file; draws until an excerpt has it
MIN_TONIC_HZ = 130.8  # C3; the tonic is any of the twelve semitones above
Samples = Float[np.ndarray, " _"]


def find_accompaniment(folder: Path) -> tuple[Path, ...]:
    """Find the audio files in a folder, recursively, sorted.

    Raises:
        SingerVerifyError: no such folder, no audio file in it, or one that cannot be decoded or is silent.
    """
    if not folder.is_dir():
        raise SingerVerifyError(f"--accompaniment {folder}: no such folder; expected a folder of audio files.")
    files = tuple(find_recordings(folder, AUDIO_SUFFIXES))
    if not files:
        raise SingerVerifyError(
            f"--accompaniment {folder}: no audio file in it; expected {' '.join(sorted(AUDIO_SUFFIXES))}."
        )
    for file in files:
        try:
            load_audio(file, CHECKED_SAMPLE_RATE)
        except UtteranceError as error:
            raise SingerVerifyError(f"--accompaniment {error}") from error
    return files


def load_accompaniment(
    files: tuple[Path, ...], num_samples: int, sample_rate: int, generator: np.random.Generator
) -> Samples:
    """Load an excerpt of one of the files, drawn at random; a file that is too short is repeated.

    Excerpts that are much softer than their file, as its beginning or a pause may be, are drawn again.

    Args:
        files: files to choose from.
        num_samples: length of the excerpt.
        sample_rate: of the excerpt, in Hz.
        generator: draws the file and where the excerpt starts.
    """
    whole = _load_file(files[int(generator.integers(len(files)))], sample_rate)
    whole = np.resize(whole, max(num_samples, len(whole)))
    min_power = MIN_EXCERPT_POWER * np.square(whole).mean()
    powers: list[tuple[float, int]] = []
    for start in generator.integers(len(whole) - num_samples + 1, size=MAX_DRAWS).tolist():
        power = float(np.square(whole[start : start + num_samples]).mean())
        powers.append((power, start))
        if power >= min_power:
            break
    _, start = max(powers) if powers[-1][0] < min_power else powers[-1]
    return whole[start : start + num_samples]


@lru_cache(maxsize=4)
def _load_file(path: Path, sample_rate: int) -> Samples:
    return load_audio(path, sample_rate)


def synthesise_accompaniment(num_samples: int, sample_rate: int, generator: np.random.Generator) -> Samples:
    """Synthesise four chords over and over (I, V, vi, IV), a bass, a bass drum, a snare drum and a hi-hat.

    Key and tempo are drawn at random. Chords and bass have eight harmonics that fall by 1/n; each beat is struck anew.

    Args:
        num_samples: length.
        sample_rate: in Hz.
        generator: random numbers.
    """
    beat_s = 60.0 / generator.uniform(MIN_TEMPO_BPM, MAX_TEMPO_BPM)
    tonic_hz = MIN_TONIC_HZ * 2.0 ** (int(generator.integers(12)) / 12.0)
    num_beat_samples = round(beat_s * sample_rate)
    num_beats = -(-num_samples // num_beat_samples)
    time_s = np.arange(num_beat_samples) / sample_rate
    chords = [
        _strike_strings(time_s, tonic_hz * 2.0 ** (np.array([*chord, chord[0] - 12]) / 12.0), sample_rate)
        for chord in PROGRESSION
    ]
    kick = 2.0 * np.sin(2.0 * np.pi * 8.0 * (1.0 - np.exp(-time_s / 0.05)) + 2.0 * np.pi * 45.0 * time_s)
    kick = kick * np.exp(-time_s / 0.12)
    snare, hat = np.exp(-time_s / 0.08), 0.4 * np.exp(-(time_s % (beat_s / 2)) / 0.03)
    beats = []
    for beat in range(num_beats):
        noise = generator.standard_normal(num_beat_samples)
        bright = np.diff(noise, prepend=0.0)  # less of the low frequencies, as a cymbal has
        drums = hat * bright + (kick if beat % 2 == 0 else snare * noise)
        beats.append(chords[beat // BEATS_PER_CHORD % len(chords)] + drums)
    return np.concatenate(beats)[:num_samples].astype(np.float32)


def _strike_strings(
    time_s: Float[np.ndarray, " samples"], notes_hz: Float[np.ndarray, " notes"], sample_rate: int
) -> Samples:
    """Sum notes that decay, each with its harmonics below the Nyquist frequency."""
    numbers = np.arange(1, NUM_PARTIALS + 1)[:, None]
    frequencies_hz = numbers * notes_hz
    amplitudes = np.where(frequencies_hz < 0.45 * sample_rate, 1.0 / numbers, 0.0)
    waves = np.sin(2.0 * np.pi * frequencies_hz[:, :, None] * time_s)
    total: np.ndarray = (amplitudes[:, :, None] * waves).sum(axis=(0, 1)) * np.exp(-time_s / 0.6)
    return total
