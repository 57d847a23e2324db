"""Voice activity: what counts as a voice, what does not, and that measures do not depend on how samples arrive."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import chirp, sawtooth, square
from support.audio import sing, sing_phrases

from singer_verify.audio.activity import ActivityMeter, VoiceActivity
from singer_verify.errors import UtteranceError

RATE = 16_000
TIME_S = np.arange(4 * RATE) / RATE
NOISE = np.random.default_rng(0).standard_normal(len(TIME_S))


def find_voice(samples: np.ndarray, sample_rate: int = RATE, block_samples: int = 1 << 19) -> VoiceActivity:
    meter = ActivityMeter(sample_rate)
    for first in range(0, len(samples), block_samples):
        meter.update(samples[first : first + block_samples].astype(np.float32))
    return meter.compute().find_voice()


def coloured_noise(exponent: float) -> np.ndarray:
    spectrum = np.fft.rfft(NOISE)
    coloured = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 20.0) ** exponent, len(NOISE))
    return coloured / coloured.std()


def hum(mains_hz: float) -> np.ndarray:
    return sum(np.sin(2 * np.pi * mains_hz * k * TIME_S + k) / k for k in range(1, 12))


def impulses(distance_s: float) -> np.ndarray:
    samples = np.zeros(len(TIME_S))
    samples[:: round(distance_s * RATE)] = 1.0
    return samples


NOT_A_VOICE = {
    "silence": np.zeros(len(TIME_S)),
    "offset": np.full(len(TIME_S), 0.3),
    "offset with noise": 0.3 + 1e-5 * NOISE,
    "white noise": 0.1 * NOISE,
    "pink noise": 0.1 * coloured_noise(0.5),
    "brown noise": 0.1 * coloured_noise(1.0),
    "50 Hz hum": 0.05 * hum(50),
    "60 Hz hum with noise": 0.05 * hum(60) + 0.005 * NOISE,
    "100 Hz buzz": 0.05 * hum(100) + 0.003 * NOISE,
    "clicks": impulses(0.5),
    "click train": impulses(0.01),
    "sine": 0.5 * np.sin(2 * np.pi * 440 * TIME_S),
    "sine with noise": 0.5 * np.sin(2 * np.pi * 440 * TIME_S) + 0.005 * NOISE,
    "tremolo": 0.4 * np.sin(2 * np.pi * 440 * TIME_S) * (1 + 0.5 * np.sin(2 * np.pi * 5 * TIME_S)),
    "square wave": 0.3 * square(2 * np.pi * 220 * TIME_S),
    "sawtooth": 0.3 * sawtooth(2 * np.pi * 330 * TIME_S),
    "two tones": 0.3 * (np.sin(2 * np.pi * 697 * TIME_S) + np.sin(2 * np.pi * 1209 * TIME_S)),
    "beeps": np.sin(2 * np.pi * 1000 * TIME_S) * (TIME_S % 0.5 < 0.05),
    "logarithmic sweep": 0.5 * chirp(TIME_S, 20, 4, 8000, "log"),
    "linear sweep": 0.5 * chirp(TIME_S, 20, 4, 8000),
}


@pytest.mark.parametrize("name", NOT_A_VOICE)
@pytest.mark.parametrize("gain", [1.0, 0.03])
def test_what_is_not_a_voice_is_refused(name: str, gain: float) -> None:
    activity = find_voice(gain * NOT_A_VOICE[name])
    assert activity.voice_s < 0.2
    with pytest.raises(UtteranceError, match=r"holds (no voice|0\.\d+ s of voice in 4\.00 s); expected at least 0.5 s"):
        activity.require_voice()


@pytest.mark.parametrize("sample_rate", [8000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("seed", range(3))
def test_all_of_a_voice_is_found(seed: int, sample_rate: int) -> None:
    for voice in (sing(seed, 3.0, sample_rate), sing_phrases(seed, 0, 3.0, sample_rate)):
        assert find_voice(voice, sample_rate).voice_s > 2.95


def test_the_level_is_that_of_the_voice_and_follows_the_gain() -> None:
    voice = sing_phrases(1, 0, 3.0)
    level_db = 20 * np.log10(voice.std())
    padded = np.concatenate([np.zeros(5 * RATE), voice, 1e-4 * NOISE])
    assert find_voice(padded).level_db == pytest.approx(level_db, abs=0.1)
    for gain_db in (-30.0, -6.0, 20.0):
        gained = find_voice(10 ** (gain_db / 20) * padded)
        assert gained.level_db == pytest.approx(level_db + gain_db, abs=0.1)
        np.testing.assert_array_equal(gained.is_active, find_voice(padded).is_active)


@pytest.mark.parametrize("noise_db", [None, -70.0, -55.0])
@pytest.mark.parametrize("pause_s", [0.3, 1.0, 12.0])
def test_a_pause_is_cut_out_to_the_step(noise_db: float | None, pause_s: float) -> None:
    voice = sing_phrases(2, 0, 4.0)
    noise = np.random.default_rng(1).standard_normal(round(pause_s * RATE))
    pause = noise * (0.0 if noise_db is None else 10 ** (noise_db / 20))
    activity = find_voice(np.concatenate([voice[: 2 * RATE], pause, voice[2 * RATE :]]))
    assert activity.voice_s == pytest.approx(4.0, abs=0.05)
    (start_s, end_s), *others = activity.pauses_s
    assert others == []
    assert start_s == pytest.approx(2.0, abs=0.03)
    assert end_s == pytest.approx(2.0 + pause_s, abs=0.03)


@pytest.mark.parametrize("place", [2.0, 2.0031, 2.0055, 2.0099])
def test_a_pause_is_cut_out_of_a_held_note_to_the_sample(place: float) -> None:
    voice, cut = sing_phrases(2, 0, 4.0).astype(np.float32), round(place * RATE)
    paused = np.concatenate([voice[:cut], np.zeros(3 * RATE, np.float32), voice[cut:]])
    (before, start), (end, after) = find_voice(paused).runs
    assert (before, after) == (0, len(paused))
    assert cut - 0.002 * RATE < start <= cut
    assert cut <= end - 3 * RATE < cut + 0.002 * RATE


def test_unvoiced_consonants_between_notes_stay() -> None:
    voice, hiss = sing_phrases(3, 0, 2.0), 0.05 * np.diff(NOISE, prepend=0.0)[: round(0.12 * RATE)]
    activity = find_voice(np.concatenate([voice[:RATE], hiss, voice[RATE:]]))
    assert activity.voice_s == pytest.approx(2.12, abs=0.03)


@pytest.mark.parametrize("block_samples", [1000, 16_001, 123_457])
def test_blocks_of_any_length_give_the_same(block_samples: int) -> None:
    samples = np.concatenate([sing_phrases(1, take, 20.0) * (take % 3 > 0) for take in range(4)])
    whole, streamed = find_voice(samples), find_voice(samples, block_samples=block_samples)
    np.testing.assert_array_equal(streamed.is_active, whole.is_active)
    assert streamed.level_db == whole.level_db


def test_samples_and_times_of_the_voice() -> None:
    is_active = np.array([False, True, True, False, False, True, False])
    bounds = np.array([[0, 10], [2, 10], [3, 7], [0, 10], [0, 10], [0, 10], [0, 10]])
    activity = VoiceActivity(1000, 65, is_active, np.zeros((7, 2)), bounds)
    samples = np.arange(65, dtype=np.float32)
    expected = [*range(12, 27), *range(50, 60)]  # a run begins and ends with the energy of its first and last step
    for block_samples in (7, 33, 65):
        blocks = [samples[first : first + block_samples] for first in range(0, 65, block_samples)]
        assert np.concatenate(list(activity.select(blocks))).tolist() == expected
    times_s = np.array([0.0, 0.014, 0.015, 0.024])
    np.testing.assert_allclose(activity.map_to_recording(times_s), [0.012, 0.026, 0.050, 0.059])
    np.testing.assert_allclose(activity.pauses_s, [[0.0, 0.012], [0.027, 0.05], [0.06, 0.065]])
    np.testing.assert_allclose(activity.compute_voice_share(np.array([0.0, 0.01]), np.array([0.04, 0.03])), [0.5, 1.0])


def test_part_of_each_pause_is_kept_on_request() -> None:
    is_active = np.array([False, False, True, False, False, False, False, True, False, True])
    activity = VoiceActivity(1000, 98, is_active, np.ones((10, 2)), np.tile([0, 10], (10, 1)))
    kept = replace(activity, pause_s=0.02)
    assert activity.runs.tolist() == kept.voice_runs.tolist() == [[20, 30], [70, 80], [90, 98]]
    assert kept.runs.tolist() == [[10, 40], [60, 98]]
    assert (kept.num_kept_samples, kept.num_voice_samples) == (68, activity.num_voice_samples)
    assert kept.level_db == activity.level_db
    assert replace(activity, pause_s=9.0).runs.tolist() == [[0, 98]]


def test_nothing_is_no_voice() -> None:
    for samples in (np.zeros(0), np.zeros(5), 0.1 * NOISE[:100]):
        assert find_voice(samples).voice_s == 0.0
