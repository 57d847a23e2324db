"""Voice quality of synthetic voices whose jitter, shimmer, noise, spectrum and vibrato are known."""

import numpy as np
import pytest
import torch
from support.audio import sing, sing_phrases

from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.cycles import compute_changes
from singer_verify.features.pitch import Pitch
from singer_verify.features.voice_quality import MEASURES, VoiceQuality, compute_cepstral_peak_prominence

RATE = 16_000
MEAN_CHANGE = 2 / np.sqrt(np.pi)  # mean absolute difference of two normal numbers of deviation 1


def measure(voice: np.ndarray, *measures: str, sample_rate: int = RATE) -> list[np.ndarray]:
    """The measures of the frames in the middle, in their own units."""
    values = VoiceQuality(measures, sample_rate=sample_rate).compute_measures(np.asarray(voice, np.float64))
    return [values[name][20:-20] for name in measures]


def pulses(f0_hz: float, jitter: float = 0.0, shimmer_db: float = 0.0, seconds: float = 2.0) -> np.ndarray:
    """Band-limited pulses whose periods and levels vary independently from one to the next.

    Args:
        f0_hz: f0.
        jitter: mean absolute change of the period, % of it.
        shimmer_db: mean absolute change of the level.
        seconds: duration.
    """
    generator, count = np.random.default_rng(0), round(seconds * f0_hz)
    periods = RATE / f0_hz * (1 + jitter / 100 / MEAN_CHANGE * generator.standard_normal(count))
    amplitudes = 10 ** (shimmer_db / 20 / MEAN_CHANGE * generator.standard_normal(count))
    voice, reach = np.zeros(round(seconds * RATE) + 400), np.arange(-40, 41)
    for position, amplitude in zip(50 + np.cumsum(periods), amplitudes, strict=True):
        centre = round(position)
        distances = centre + reach - position
        if centre + 41 < len(voice):
            voice[centre - 40 : centre + 41] += amplitude * np.sinc(distances) * np.cos(np.pi * distances / 84) ** 2
    return 0.5 * voice


def harmonics(contour_hz: np.ndarray, tilt_db: float = -12.0, first_db: float = 0.0) -> np.ndarray:
    """Harmonics that follow an f0, so many dB less per octave, the first one louder by `first_db`."""
    phase = 2 * np.pi * np.cumsum(contour_hz) / RATE
    levels_db = {
        k: tilt_db * np.log2(k) + (first_db if k == 1 else 0.0) for k in range(1, int(7000 / contour_hz.max()))
    }
    return 0.05 * sum(10 ** (level_db / 20) * np.cos(k * phase + k * k) for k, level_db in levels_db.items())


def steady(f0_hz: float, seconds: float = 1.5) -> np.ndarray:
    return np.full(round(seconds * RATE), f0_hz)


def vibrato(f0_hz: float, rate_hz: float, extent_cents: float, seconds: float = 2.0) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE)) / RATE
    return f0_hz * 2 ** (extent_cents * np.sin(2 * np.pi * rate_hz * time_s) / 1200)


@pytest.mark.parametrize("f0_hz", [110, 220, 400])
@pytest.mark.parametrize(("jitter", "shimmer_db"), [(0.0, 0.5), (1.0, 0.0), (1.0, 0.5), (2.0, 1.0)])
def test_pulses_have_their_jitter_and_shimmer(f0_hz: float, jitter: float, shimmer_db: float) -> None:
    found_jitter, found_shimmer = measure(pulses(f0_hz, jitter, shimmer_db), "jitter", "shimmer")
    assert found_jitter.mean() == pytest.approx(jitter, rel=0.15, abs=0.05)
    assert found_shimmer.mean() == pytest.approx(shimmer_db, rel=0.15, abs=0.15)


def test_a_change_is_that_from_cycle_to_cycle_about_the_trend() -> None:
    line = np.arange(20) * 0.01
    np.testing.assert_allclose(compute_changes(line, 0.1), 0, atol=1e-12)
    alternating = compute_changes(line + 0.01 * (-1.0) ** np.arange(20), 0.1)
    np.testing.assert_allclose(alternating, 0.02, rtol=0.3)
    broken = line.copy()
    broken[10:] += 0.5  # another note
    broken[5] = np.nan
    assert np.flatnonzero(np.isnan(compute_changes(broken, 0.1))).tolist() == [4, 5, 9]


def test_neither_vibrato_nor_a_swell_is_jitter_or_shimmer() -> None:
    contour = vibrato(220, 5.5, 100)
    swell = 10 ** (6 * np.sin(2 * np.pi * 5.5 * np.arange(len(contour)) / RATE) / 20)
    jitter, shimmer = measure(swell * harmonics(contour), "jitter", "shimmer")
    assert jitter.max() < 0.1  # a semitone either way changes a period by up to 1 %
    assert shimmer.max() < 0.1


@pytest.mark.parametrize("f0_hz", [100, 240, 600])
@pytest.mark.parametrize("hnr_db", [0, 10, 20])
def test_noise_lowers_the_harmonics_to_noise_ratio_to_what_it_is(f0_hz: float, hnr_db: float) -> None:
    voice = harmonics(steady(f0_hz))
    noise = np.random.default_rng(1).standard_normal(len(voice))
    noisy = voice + noise * voice.std() * 10 ** (-hnr_db / 20)
    hnr, voicing = measure(noisy, "hnr", "voicing")
    assert np.median(hnr[voicing == 1]) == pytest.approx(hnr_db, abs=1.5)


def test_the_less_noise_the_more_prominent_the_cepstral_peak() -> None:
    voice = harmonics(steady(200.0))
    noise = np.random.default_rng(1).standard_normal(len(voice)) * voice.std()
    found = [np.median(measure(voice + gain * noise, "cpp")[0]) for gain in (1.0, 0.3, 0.1, 0.03)]
    assert (np.diff(found) > 1).all()
    assert 5 < found[0] < found[-1] < 30


def test_a_cepstral_peak_is_that_above_a_line_through_the_cepstrum() -> None:
    voice = pulses(200.0, jitter=0.3)
    start = 5000
    window = voice[start : start + 800] - voice[start : start + 800].mean()
    power = np.abs(np.fft.rfft(window * np.hamming(800), 1024)) ** 2
    levels = 20 * np.log10(np.abs(np.fft.irfft(10 * np.log10(power), 1024)))
    line = np.polyfit(np.arange(16, 512), levels[16:512], 1)
    highest = 76 + levels[76:85].argmax()
    centre = start + 400
    frame = compute_cepstral_peak_prominence(voice, np.array([centre]), np.array([80.0]), RATE, 800)[0]
    assert frame == pytest.approx(levels[highest] - np.polyval(line, highest), abs=0.7)  # it lies between two samples


@pytest.mark.parametrize("f0_hz", [90, 220, 700])
@pytest.mark.parametrize(("tilt_db", "first_db"), [(-6, 0), (-12, 0), (-18, 0), (-12, 5), (-12, -8)])
def test_a_spectrum_has_its_tilt_and_its_first_harmonic(f0_hz: float, tilt_db: float, first_db: float) -> None:
    tilt, h1_h2 = measure(harmonics(steady(f0_hz), tilt_db, first_db), "tilt", "h1_h2")
    np.testing.assert_allclose(h1_h2, first_db - tilt_db, atol=0.1)
    if first_db == 0:
        np.testing.assert_allclose(tilt, tilt_db, atol=0.1)


@pytest.mark.parametrize("f0_hz", [110, 220, 440])
@pytest.mark.parametrize(("rate_hz", "extent_cents"), [(5.5, 60), (4.5, 30), (7.0, 100)])
def test_a_vibrato_has_its_rate_and_extent(f0_hz: float, rate_hz: float, extent_cents: float) -> None:
    rate, extent = measure(harmonics(vibrato(f0_hz, rate_hz, extent_cents)), "vibrato_rate", "vibrato_extent")
    np.testing.assert_allclose(rate, rate_hz, atol=0.2)
    np.testing.assert_allclose(extent, extent_cents, rtol=0.06)


@pytest.mark.parametrize(
    "cents",
    [
        np.zeros(2 * RATE),
        np.linspace(0, 1200, 2 * RATE),
        np.repeat([0, 200, 400, 500, 700, 500, 400, 200], RATE // 4),
        100 * np.sin(2 * np.pi * 1.5 * np.arange(2 * RATE) / RATE),
        3 * np.sin(2 * np.pi * 5.5 * np.arange(2 * RATE) / RATE),
    ],
    ids=["steady", "glide", "notes", "slow", "too small"],
)
def test_what_is_no_vibrato_has_none(cents: np.ndarray) -> None:
    rate, extent = measure(harmonics(220 * 2 ** (cents / 1200)), "vibrato_rate", "vibrato_extent")
    assert not rate.any()
    assert not extent.any()


def test_a_vibrato_is_where_it_is_sung_and_not_in_a_short_utterance() -> None:
    contour = np.concatenate([steady(220, 1.5), vibrato(220, 5.5, 60, 1.5)])
    rate = VoiceQuality(["vibrato_rate"]).compute_measures(harmonics(contour))["vibrato_rate"]
    assert not rate[:115].any()
    np.testing.assert_allclose(rate[190:], 5.5, atol=0.2)
    assert not VoiceQuality(["vibrato_rate"])(torch.from_numpy(harmonics(vibrato(220, 5.5, 60, 0.35)))).any()


def test_unvoiced_frames_are_interpolated() -> None:
    voice = np.concatenate([harmonics(steady(220, 0.8), -6), np.zeros(4000), harmonics(steady(220, 0.8), -18)])
    values = VoiceQuality(["tilt", "voicing"]).compute_measures(voice)
    gap = values["tilt"][values["voicing"] == 0]
    assert len(gap) > 10
    assert (np.diff(gap) <= 1e-9).all()
    assert gap[0] > -12 > gap[-1]
    assert np.array_equal(values["voicing"], 1.0 - Pitch()(torch.from_numpy(voice))[:, -1].numpy())


def test_no_measure_depends_on_the_level() -> None:
    samples = torch.from_numpy(sing_phrases(1, 1, 1.5))
    for gain in (0.03, 2.0):
        difference = VoiceQuality()(gain * samples) - VoiceQuality()(samples)
        assert (difference.abs() < 1e-3).all(dim=1).float().mean() > 0.98
    torch.testing.assert_close(VoiceQuality()(-samples), VoiceQuality()(samples), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MEASURES)
def test_bins_are_the_measures_scaled_to_one(name: str) -> None:
    voice, (low, high) = sing(1).astype(np.float64), MEASURES[name]
    values = VoiceQuality([name]).compute_measures(voice)[name]
    bins = VoiceQuality([name])(torch.from_numpy(voice))
    np.testing.assert_allclose(bins[:, 0], np.clip((values - low) / (high - low), 0, 1), atol=1e-12)
    together = VoiceQuality()(torch.from_numpy(voice))[:, list(MEASURES).index(name)]
    torch.testing.assert_close(together, bins[:, 0])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"measures": []}, r"measures=\[\]: expected a list of different ones, of jitter, shimmer, hnr"),
        ({"measures": "hnr"}, "measures=hnr: expected a list"),
        ({"measures": ["hnr", "hnr"]}, r"measures=\['hnr', 'hnr'\]: expected a list of different ones"),
        ({"measures": ["hnr", "formants"]}, "measures=formants: expected one of jitter, shimmer, hnr"),
        ({"cycle_window_ms": 5}, "cycle_window_ms=5: expected a number between 20 and 1000"),
        ({"vibrato_window_s": 0.2}, "vibrato_window_s=0.2: expected a number between 0.4 and 2"),
        ({"f0_min_hz": 10}, "f0_min_hz=10: expected a number between 40 and 4000"),
    ],
)
def test_refuses_settings(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        VoiceQuality(**settings)


@pytest.mark.parametrize(
    ("voice", "said"),
    [
        (torch.zeros(RATE), "has no voiced frame; this recipe needs singing with a pitch"),
        (torch.zeros(1000), "lasts 62 ms, shorter than one frame; at least 75 ms is needed"),
    ],
)
def test_refuses_what_has_no_voice(voice: torch.Tensor, said: str) -> None:
    with pytest.raises(UtteranceError, match=said):
        VoiceQuality()(voice)


def test_bears_other_rates_and_ranges() -> None:
    for rate, (f0_min_hz, f0_max_hz) in ((8000, (40, 2000)), (44_100, (60, 1100)), (16_000, (200, 4000))):
        feature = VoiceQuality(sample_rate=rate, f0_min_hz=f0_min_hz, f0_max_hz=f0_max_hz)
        for f0_hz in (1.5 * f0_min_hz, 3.0 * f0_min_hz):
            voice = harmonics(np.full(rate, f0_hz * RATE / rate))
            frames = feature(torch.from_numpy(voice))
            assert frames.shape == (101, len(MEASURES))
            assert frames.isfinite().all()
