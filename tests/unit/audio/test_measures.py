"""Measures of recordings: level, noise floor and bandwidth of signals that have a known one."""

import numpy as np
import pytest
from scipy.signal import firwin, lfilter

from singer_verify.audio import measures
from singer_verify.audio.measures import measure_recording

RATE = 16_000


def make_noise(seconds: float, level_db: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (noise * 10.0 ** (level_db / 20.0)).astype(np.float32)


def test_level_is_that_of_the_loud_steps_and_the_floor_that_of_the_pauses() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE).astype(np.float32) * 0.1  # -23 dB
    recording = np.concatenate([tone, make_noise(1.0, -70.0)]) + np.float32(0.05)  # an offset is no level
    measured = measure_recording(recording, RATE)
    assert measured.duration_s == 3.0
    assert measured.level_db == pytest.approx(-23.0, abs=0.1)
    assert measured.noise_db == pytest.approx(-70.0, abs=1.5)
    assert measured.snr_db == pytest.approx(47.0, abs=1.6)


def test_a_gain_changes_the_level_by_itself_and_nothing_else() -> None:
    recording = np.concatenate([make_noise(1.0, -20.0), make_noise(1.0, -60.0)])
    before, after = (measure_recording(factor * recording, RATE) for factor in (1.0, np.float32(0.1)))
    assert after.level_db == pytest.approx(before.level_db - 20.0, abs=1e-3)
    assert after.noise_db == pytest.approx(before.noise_db - 20.0, abs=1e-3)
    assert (after.snr_db, after.bandwidth_hz) == (pytest.approx(before.snr_db, abs=1e-3), before.bandwidth_hz)


@pytest.mark.parametrize("cutoff_hz", [1000, 3400, 6000])
def test_bandwidth_is_where_a_filter_cuts(cutoff_hz: int, monkeypatch: pytest.MonkeyPatch) -> None:
    filtered = lfilter(firwin(801, cutoff_hz, fs=RATE, window=("kaiser", 12.0)), 1.0, make_noise(2.0, -10.0))
    recording = filtered.astype(np.float32)
    whole = measure_recording(recording, RATE)
    assert whole.bandwidth_hz == pytest.approx(cutoff_hz, abs=300)  # leakage of the window
    monkeypatch.setattr(measures, "SPECTRUM_CHUNK_WINDOWS", 7)
    assert measure_recording(recording, RATE) == whole


def test_digital_silence_and_a_single_sample_have_measures() -> None:
    for recording in (np.zeros(RATE, np.float32), np.full(1, 0.5, np.float32), make_noise(0.005, -20.0)):
        measured = measure_recording(recording, RATE)
        assert np.isfinite([measured.level_db, measured.noise_db, measured.bandwidth_hz]).all()
        assert measured.noise_db >= measures.MIN_LEVEL_DB
    silent = measure_recording(np.concatenate([make_noise(1.0, -20.0), np.zeros(RATE, np.float32)]), RATE)
    assert silent.noise_db == measures.MIN_LEVEL_DB
    assert silent.level_db == pytest.approx(-20.0, abs=0.3)
