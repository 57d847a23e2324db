"""Recipes of WORLD: pitch of known tones, envelopes against pyworld and slow loops, and what they refuse."""

import math
import sys

import numpy as np
import pytest
import torch
from support.audio import sing

from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.f0 import load_pyworld
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.pitch import UNVOICED_BIN, Pitch, PitchContour, compute_pitch_bins
from singer_verify.features.world import (
    ENVELOPE_CODINGS,
    WorldEnvelope,
    build_frequency_warping_matrix,
    build_mel_cepstrum_matrix,
    build_warped_spectrum_matrix,
)


def tone(f0_hz: float, seconds: float = 1.0, sample_rate: int = 16_000) -> torch.Tensor:
    """Harmonics that fall off, as a voice's do."""
    time_s = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    partials = [torch.sin(2 * math.pi * k * f0_hz * time_s) / k for k in range(1, int(sample_rate / 2 / f0_hz))]
    return 0.1 * sum(partials).float()


NOISE = 0.01 * torch.randn(16_000, generator=torch.Generator().manual_seed(0))


def require_method(f0_method: str) -> None:
    if f0_method == "swift":
        pytest.importorskip("swift_f0")


@pytest.mark.parametrize("f0_method", ["dio", "harvest", "swift"])
@pytest.mark.parametrize("midi", [45, 57, 69, 80])
def test_a_note_lights_its_semitone(midi: int, f0_method: str) -> None:
    require_method(f0_method)
    frames = Pitch(f0_method=f0_method)(tone(440 * 2 ** ((midi - 69) / 12)))
    assert (frames.sum(dim=1) == 1).all()
    assert (frames[10:-10].argmax(dim=1) == midi - 36).all()


def test_bins_are_semitones_with_the_unvoiced_bin_last() -> None:
    f0_hz = np.array([0.0, 440.0, 452.0, 453.0, 60.0, 1100.0])
    assert compute_pitch_bins(f0_hz).tolist() == [46, 33, 33, 34, 0, 45]
    assert (Pitch()(NOISE).argmax(dim=1) == UNVOICED_BIN).float().mean() > 0.9
    assert Pitch()(torch.zeros(16_000))[:, UNVOICED_BIN].all()


@pytest.mark.parametrize("f0_method", ["dio", "swift"])
def test_a_contour_follows_a_glide_and_crosses_a_gap_straight(f0_method: str) -> None:
    require_method(f0_method)
    samples = torch.cat([tone(220), torch.zeros(4800), tone(440)])
    contour = PitchContour(f0_method=f0_method)(samples)
    octaves, voiced = contour.T
    assert octaves[50] == pytest.approx(-1, abs=0.01)
    assert octaves[180] == pytest.approx(0, abs=0.01)
    assert set(voiced.tolist()) == {0.0, 1.0}
    gap = octaves[voiced == 0][1:-1]
    assert (gap.diff() >= -1e-6).all()
    assert -1 < gap[len(gap) // 2] < 0


def test_refuses_an_utterance_without_a_voiced_frame() -> None:
    with pytest.raises(UtteranceError, match="has no voiced frame"):
        PitchContour()(torch.zeros(16_000))


def test_a_network_finds_the_same_f0_at_the_same_times_at_any_level() -> None:
    require_method("swift")
    samples = torch.cat([torch.zeros(8000), torch.from_numpy(sing(1)), torch.zeros(8000)])
    for gain in (1.0, 1e-3, 10.0):
        expected, found = PitchContour()(samples), PitchContour(f0_method="swift")(gain * samples)
        assert found.shape == expected.shape
        both = (expected[:, 1] == 1) & (found[:, 1] == 1)
        assert both.float().mean() > 0.45
        assert (expected[:, 1] != found[:, 1]).float().mean() < 0.05
        assert (expected[both, 0] - found[both, 0]).abs().median() < 5 / 1200
    assert not Pitch(f0_method="swift")(torch.zeros(8000))[:, :UNVOICED_BIN].any()
    assert WorldEnvelope(f0_method="swift")(samples).isfinite().all()


def test_a_network_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "swift_f0", None)
    with pytest.raises(
        SingerVerifyError, match=r"f0_method=swift: needs .* pip install -c constraints.txt -e '\.\[f0\]'"
    ):
        Pitch(f0_method="swift")


@pytest.mark.parametrize("num_samples", [16_000, 16_001, 16_159, 16_160])
@pytest.mark.parametrize("hop_ms", [5.0, 10.0])
def test_frames_line_up_with_mel(num_samples: int, hop_ms: float) -> None:
    samples = tone(220, 1.1)[:num_samples]
    counts = {
        len(feature(samples))
        for feature in (MelSpectrogram(40, hop_ms=hop_ms), Pitch(hop_ms=hop_ms), WorldEnvelope(hop_ms=hop_ms))
    }
    assert counts == {1 + num_samples // round(16 * hop_ms)}


def test_a_note_begins_at_the_same_frame_in_mel_and_pitch() -> None:
    samples = torch.cat([torch.zeros(8000), tone(220)])
    loud = (MelSpectrogram(40)(samples).mean(dim=1) > 0.3).int().argmax().item()
    voiced = (Pitch()(samples)[:, UNVOICED_BIN] == 0).int().argmax().item()
    assert abs(loud - 50) <= 4
    assert abs(voiced - 50) <= 4


def test_worlds_coding_is_the_plain_calls_of_pyworld() -> None:
    samples, world = sing(1).astype(np.float64), load_pyworld()
    f0_hz, times_s = world.dio(samples, 16_000, f0_floor=60, f0_ceil=1100, frame_period=5.0)
    f0_hz = world.stonemask(samples, f0_hz, times_s, 16_000)
    envelope = world.cheaptrick(samples, f0_hz, times_s, 16_000, f0_floor=60)
    expected = world.code_spectral_envelope(envelope, 16_000, 40)
    breath = world.code_aperiodicity(world.d4c(samples, f0_hz, times_s, 16_000), 16_000)
    frames = WorldEnvelope(40, "world", aperiodicity=True)(torch.from_numpy(sing(1))).numpy()
    np.testing.assert_allclose(frames, np.hstack([expected, breath]), rtol=1e-4, atol=1e-4)


def slow_frequency_transform(cepstrum: list[float], num_bins: int, warping: float) -> list[float]:
    """SPTK's `freqt`, number by number."""
    warped = [0.0] * num_bins
    for value in reversed(cepstrum):
        before = list(warped)
        warped[0] = value + warping * before[0]
        warped[1] = (1 - warping**2) * before[0] + warping * before[1]
        for row in range(2, num_bins):
            warped[row] = before[row - 1] + warping * (before[row] - warped[row - 1])
    return warped


def test_warping_a_cepstrum_is_the_recursion() -> None:
    cepstrum = np.random.default_rng(0).standard_normal(30)
    expected = slow_frequency_transform(cepstrum.tolist(), 12, 0.45)
    np.testing.assert_allclose(build_frequency_warping_matrix(12, 30, 0.45) @ cepstrum, expected, atol=1e-12)
    np.testing.assert_allclose(build_frequency_warping_matrix(12, 30, 0.0) @ cepstrum, cepstrum[:12])


def test_a_warped_spectrum_is_the_spectrum_at_warped_frequencies() -> None:
    frequencies = np.linspace(0, math.pi, 513)

    def smooth(frequency: np.ndarray) -> np.ndarray:
        return 1.0 + 2.0 * np.cos(frequency) - 0.7 * np.cos(3 * frequency)

    warped = np.linspace(0, math.pi, 60)
    unwarped = warped + 2 * np.arctan2(-0.45 * np.sin(warped), 1 + 0.45 * np.cos(warped))
    np.testing.assert_allclose(
        build_warped_spectrum_matrix(60, 513, 0.45) @ smooth(frequencies), smooth(unwarped), atol=1e-6
    )
    cepstrum = build_mel_cepstrum_matrix(5, 513, 0.0) @ smooth(frequencies)
    np.testing.assert_allclose(cepstrum, [1, 2, 0, -0.7, 0], atol=1e-12)


def test_decibels_are_the_logarithm_in_another_unit() -> None:
    samples = torch.from_numpy(sing(2))
    natural, level_db = WorldEnvelope(60, "mfsc")(samples), WorldEnvelope(60, "mfsc_db")(samples)
    torch.testing.assert_close(level_db, natural * 20 / math.log(10), rtol=1e-5, atol=1e-3)
    louder = WorldEnvelope(60, "mfsc_db")(10 * samples)
    torch.testing.assert_close((louder - level_db).median(), torch.tensor(20.0), rtol=0, atol=0.1)


@pytest.mark.parametrize("coding", ENVELOPE_CODINGS)
def test_codings_bear_silence_and_noise(coding: str) -> None:
    for samples in (torch.zeros(8000), NOISE):
        frames = WorldEnvelope(24, coding, aperiodicity=True, hop_ms=10)(samples)
        assert frames.shape[1] == 25
        assert frames.isfinite().all()


def test_an_envelope_tells_little_of_the_pitch() -> None:
    """Two notes of one source differ less in envelope than in mel bands."""
    low, high = tone(220), tone(311)
    envelope = [WorldEnvelope(40, "mfsc_db", hop_ms=10)(samples)[20:-20].mean(dim=0)[:20] for samples in (low, high)]
    bands = [
        MelSpectrogram(40, level_scale="db", n_fft=1024)(samples)[20:-20].mean(dim=0)[:20] for samples in (low, high)
    ]
    assert (envelope[0] - envelope[1]).abs().mean() < 0.5 * (bands[0] - bands[1]).abs().mean()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Pitch(f0_method="yin"), "f0_method=yin: expected one of dio, harvest, swift"),
        (lambda: Pitch(f0_method="swift", f0_min_hz=40), "f0_min_hz=40: expected a number between 46.875 and 2093.75"),
        (lambda: Pitch(f0_min_hz=300, f0_max_hz=400), "f0_max_hz=400: expected a number between 600 and 4000"),
        (lambda: WorldEnvelope(coding="lpc"), "coding=lpc: expected one of world, mfsc"),
        (lambda: WorldEnvelope(1000), "num_envelope_bins=1000: expected a number between 2 and 512"),
    ],
)
def test_refuses_settings(make: object, said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        make()


@pytest.mark.parametrize("feature", [Pitch(), WorldEnvelope()])
def test_refuses_an_utterance_shorter_than_three_periods(feature: Pitch) -> None:
    with pytest.raises(UtteranceError, match="lasts 6 ms, shorter than one frame; at least 50 ms is needed"):
        feature(torch.zeros(100))
    assert feature(torch.rand(800)).isfinite().all()
