"""The modulation spectrum against a slow computation in numpy, and by its properties: tremolo, gain, edges, pieces."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from support.audio import sing

from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.feature import FramewiseFeature
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.modulation import ModulationSpectrum
from singer_verify.inference.frames import compute_frame_chunks

TIME_S = np.arange(32_000) / 16_000


def compute_slowly(levels: np.ndarray, half_window: int, edges_hz: list[float], rate_hz: float) -> np.ndarray:
    """Amplitudes of modulations of frames around which the window is inside: (frames, mels, modulations)."""
    window = np.hanning(2 * half_window + 1)[:-1]
    frequencies_hz = np.fft.rfftfreq(2 * half_window, 1 / rate_hz)
    frames = []
    for centre in range(half_window, len(levels) - half_window):
        held = levels[centre - half_window : centre + half_window]
        centred = held - (window @ held) / window.sum()
        powers = np.abs(np.fft.rfft(window[:, None] * centred, axis=0)) ** 2 * (2 / window.sum()) ** 2 / 1.5
        bands = [
            powers[(frequencies_hz >= lower) & (frequencies_hz < upper)].sum(axis=0)
            for lower, upper in pairwise(edges_hz)
        ]
        frames.append(np.sqrt(np.array(bands)).T)
    return np.array(frames)


@pytest.mark.parametrize(
    ("edges_hz", "window_ms", "hop_ms"),
    [([1.0, 2.0, 4.0, 8.0, 16.0], 1000.0, 10.0), ([2.0, 4.0, 9.0, 24.0], 500.0, 20.0), ([0.7, 2.0], 1600.0, 12.5)],
)
def test_frames_are_those_of_a_slow_computation(edges_hz: list[float], window_ms: float, hop_ms: float) -> None:
    samples = torch.from_numpy(sing(1, 2.0))
    mel = MelSpectrogram(10, hop_ms=hop_ms, level_scale="log", floor_db=-70.0)
    half_window = math.ceil(window_ms / 2 / hop_ms)
    expected = compute_slowly(mel(samples).double().numpy(), half_window, edges_hz, 1000 / hop_ms)
    frames = ModulationSpectrum(10, edges_hz, window_ms, hop_ms=hop_ms)(samples).numpy()
    assert len(frames) == len(mel(samples))
    inner = frames[half_window : half_window + len(expected)].reshape(expected.shape)
    np.testing.assert_allclose(inner, np.log1p(10 * expected), atol=1e-4)


@pytest.mark.parametrize(("rate_hz", "band"), [(2.0, 0), (6.0, 1), (12.0, 2)])
def test_a_tremolo_lights_the_band_of_its_rate(rate_hz: float, band: int) -> None:
    tone = np.sin(2 * np.pi * 440 * TIME_S) * np.exp(0.2 * np.sin(2 * np.pi * rate_hz * TIME_S))
    feature = ModulationSpectrum()
    levels = feature.mel(torch.from_numpy(0.1 * tone.astype(np.float32)))
    frame = feature(torch.from_numpy(0.1 * tone.astype(np.float32)))[100].reshape(20, 3).expm1() / 10
    loudest = int(levels[100].argmax())
    assert frame[loudest].argmax() == band
    assert frame[loudest, band].square() > 0.7 * frame[loudest].square().sum()


def test_a_tremolo_gives_its_amplitude() -> None:
    tone = 0.1 * np.sin(2 * np.pi * 440 * TIME_S) * np.exp(0.2 * np.sin(2 * np.pi * 6 * TIME_S))
    feature = ModulationSpectrum(4, [2.0, 16.0], n_fft=256)  # so short a frame flattens no swing
    frame = feature(torch.from_numpy(tone.astype(np.float32)))[100].expm1() / 10
    assert frame.max() == pytest.approx(0.2, rel=0.02)


def test_neither_a_gain_nor_a_steady_sound_modulates() -> None:
    samples = torch.from_numpy(sing(1, 1.0) + 0.02 * np.random.default_rng(0).standard_normal(16_000).astype("f4"))
    feature = ModulationSpectrum()
    torch.testing.assert_close(feature(0.3 * samples), feature(samples), rtol=0, atol=1e-3)
    period = 0.1 * np.random.default_rng(0).standard_normal(160)  # one hop: all frames are equal
    steady = torch.from_numpy(np.tile(period, 150).astype(np.float32))
    assert feature(steady)[55:-55].max() < 1e-2
    assert feature(torch.zeros(4000)).max() < 1e-3


@pytest.mark.parametrize("num_samples", [30_000, 30_080, 30_079])
def test_long_recordings_are_computed_in_pieces(num_samples: int) -> None:
    feature, samples = ModulationSpectrum(8, window_ms=400, edges_hz=[2.5, 8]), torch.from_numpy(sing(3, 2.0))
    assert isinstance(feature, FramewiseFeature)
    whole = feature(samples[:num_samples])
    for block_samples, piece_frames in ((700, 1), (16_001, 50)):
        pieces = list(compute_frame_chunks(feature, samples[:num_samples].split(block_samples), piece_frames))
        torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-4, rtol=1e-4)


def test_batch_gives_what_each_gives_alone_however_short() -> None:
    batch = torch.from_numpy(np.stack([sing(seed, 0.2) for seed in range(4)])).reshape(2, 2, -1)
    frames = ModulationSpectrum()(batch)
    assert frames.shape == (2, 2, 21, 60)
    torch.testing.assert_close(frames[1, 0], ModulationSpectrum()(batch[1, 0]), rtol=0, atol=1e-4)
    with pytest.raises(UtteranceError, match="lasts 32 ms, shorter than one frame"):
        ModulationSpectrum()(torch.zeros(512))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_mels": 0}, "num_mels=0"),
        ({"edges_hz": [4.0]}, r"edges_hz=\[4\.0\]: expected a list of at least two rising numbers"),
        ({"edges_hz": [4.0, 2.0]}, "expected a list of at least two rising numbers"),
        ({"edges_hz": [1.0, float("nan")]}, "expected a list of at least two rising numbers"),
        ({"edges_hz": [2.0, float("inf")]}, "to 50 Hz, half the frame rate"),
        ({"edges_hz": [0.5, 3.0]}, "expected edges from 2 Hz, which window_ms resolves, to 50 Hz"),
        ({"edges_hz": [4.0, 80.0]}, "to 50 Hz, half the frame rate"),
        ({"edges_hz": [4.2, 4.8, 8.0]}, r"the band from 4\.2 to 4\.8 Hz is narrower than the 2 Hz"),
        ({"window_ms": 10.0}, r"window_ms=10\.0: expected a number between 100 and 60000"),
    ],
)
def test_refuses_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        ModulationSpectrum(**settings)
