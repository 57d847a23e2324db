"""Faults that are measured: each raises its own measure, and leaves a sound recording as it was."""

from pathlib import Path

import numpy as np
import pytest
import soxr
from support.audio import SAMPLE_RATE, sing_phrases

from singer_verify.audio.clip import AudioClip
from singer_verify.audio.quality import QualityMeasures, measure_quality
from singer_verify.errors import UtteranceError

HISS = 5e-4 * np.random.default_rng(0).standard_normal(4 * SAMPLE_RATE)  # of a microphone
VOICE = sing_phrases(1, 1, 4.0) + HISS.astype(np.float32)
TIME_S = np.arange(len(VOICE)) / SAMPLE_RATE


def measure(samples: np.ndarray) -> QualityMeasures:
    return measure_quality(AudioClip(samples.astype(np.float32), SAMPLE_RATE))


@pytest.fixture(scope="module")
def sound() -> QualityMeasures:
    return measure(VOICE)


def test_a_sound_recording(sound: QualityMeasures) -> None:
    assert sound.duration_s == 4.0
    assert (sound.sample_rate, sound.num_channels) == (SAMPLE_RATE, 1)
    assert sound.clipped_share == 0.0
    assert sound.hum_db == -np.inf
    assert sound.voice_share > 0.8
    assert sound.cutoff_db < 30.0
    assert sound.peak == pytest.approx(np.abs(VOICE).max())


def test_clipping() -> None:
    limit = np.percentile(np.abs(VOICE), 99)
    assert 0.002 < measure(np.clip(VOICE, -limit, limit)).clipped_share <= 0.01
    quieter = np.rint(np.clip(VOICE, -limit, limit) / limit * 3000).astype(np.int16)  # attenuated afterwards
    assert measure_quality(AudioClip(quieter, SAMPLE_RATE)).clipped_share > 0.002


@pytest.mark.parametrize("mains_hz", [50, 60])
def test_hum(mains_hz: float) -> None:
    hum = sum(np.sin(2 * np.pi * mains_hz * k * TIME_S) for k in (1, 2, 3)) * 1e-3
    measured = measure(VOICE + hum)
    assert measured.mains_hz == mains_hz
    assert measured.hum_db == pytest.approx(10 * np.log10(1.5e-6) - measured.level_db, abs=2.0)


def test_noise(sound: QualityMeasures) -> None:
    noise = 10 ** (sound.level_db / 20 - 15 / 20) * np.random.default_rng(0).standard_normal(len(VOICE))
    assert measure(VOICE + noise).noise_db == pytest.approx(-15.0, abs=3.0)
    assert sound.noise_db < -25.0


def test_a_band_limit(sound: QualityMeasures) -> None:
    narrow = measure(soxr.resample(soxr.resample(VOICE, SAMPLE_RATE, 8000), 8000, SAMPLE_RATE))
    assert narrow.cutoff_db > 30.0 > sound.cutoff_db
    assert 3600 < narrow.cutoff_hz < 4300


def test_the_long_term_spectrum_does_not_depend_on_the_level(sound: QualityMeasures) -> None:
    np.testing.assert_allclose(measure(0.1 * VOICE).bands_db, sound.bands_db, atol=1e-3)
    assert np.isnan(sound.bands_db[-2:]).all()  # above 8 kHz


def test_two_voices_in_two_channels() -> None:
    both = np.stack([VOICE, sing_phrases(2, 1, 4.0)], axis=1)
    measured = measure_quality(AudioClip(both, SAMPLE_RATE))
    assert measured.has_two_voices
    assert measured.num_channels == 2
    clipped = np.stack([VOICE, np.clip(VOICE, -0.02, 0.02)], axis=1)  # in one of them
    assert measure_quality(AudioClip(clipped, SAMPLE_RATE)).clipped_share > 0.01


def test_what_cannot_be_measured(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(UtteranceError):
        measure_quality(tmp_path / "text.wav")
    with pytest.raises(UtteranceError, match="silent"):
        measure(np.zeros(1000))
    with pytest.raises(UtteranceError, match="no samples"):
        measure(np.zeros(0))


def test_a_click_and_a_short_one() -> None:
    assert measure(VOICE[:700]).duration_s == pytest.approx(700 / SAMPLE_RATE)
    click = np.zeros(2000)
    click[1000] = 0.5
    assert measure(click).voice_s == 0.0
