"""Linear-frequency cepstra against a slow computation in numpy and scipy, and by their properties."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.fft import dct
from support.audio import sing

from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.feature import FramewiseFeature
from singer_verify.features.lfcc import Lfcc


def compute_slowly(
    samples: np.ndarray, num_bands: int, rate: int, n_fft: int, hop: int, fmin_hz: float, fmax_hz: float
) -> np.ndarray:
    """All coefficients, frame by frame and band by band."""
    padded = np.pad(samples.astype(np.float64), n_fft // 2, "reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    edges_hz = np.linspace(fmin_hz, fmax_hz, num_bands + 2)
    bins_hz = np.fft.rfftfreq(n_fft, 1 / rate)
    frames = []
    for start in range(0, len(samples) + 1, hop):
        powers = np.abs(np.fft.rfft(window * padded[start : start + n_fft])) ** 2
        bands = [
            sum(powers * np.interp(bins_hz, edges_hz[band : band + 3], [0, 1, 0], left=0, right=0))
            for band in range(num_bands)
        ]
        frames.append(dct(np.log(np.maximum(np.sqrt(bands), 1e-5)), type=2, norm="ortho"))
    return np.array(frames)


@pytest.mark.parametrize(
    ("rate", "settings"),
    [
        (16_000, {}),
        (16_000, {"num_bands": 24, "num_bins": 24, "fmin_hz": 200.0, "fmax_hz": 6000.0, "n_fft": 512, "hop_ms": 12.5}),
        (44_100, {"fmax_hz": 20_000.0, "n_fft": 2048}),
    ],
)
@pytest.mark.parametrize("c0", [True, False])
def test_frames_are_those_of_a_slow_computation(rate: int, settings: dict[str, Any], c0: bool) -> None:
    samples = sing(1, 0.4, rate)
    feature = Lfcc(sample_rate=rate, c0=c0, **({"num_bins": 20} | settings | ({} if c0 else {"num_bins": 13})))
    frames = feature(torch.from_numpy(samples)).numpy()
    places = feature.n_fft, feature.hop_samples, feature.fmin_hz, feature.fmax_hz
    expected = compute_slowly(samples, feature.num_bands, rate, *places)
    assert len(frames) == 1 + len(samples) // feature.hop_samples
    first = 0 if c0 else 1
    np.testing.assert_allclose(frames, expected[:, first : first + feature.num_bins], atol=2e-3)


def test_a_gain_moves_coefficient_0_alone() -> None:
    noise = 0.1 * torch.randn(8000, generator=torch.Generator().manual_seed(0))
    moved = Lfcc()(2 * noise) - Lfcc()(noise)
    torch.testing.assert_close(moved[:, 0], torch.full((51,), float(np.log(2) * np.sqrt(40))), rtol=1e-4, atol=0)
    torch.testing.assert_close(moved[:, 1:], torch.zeros(51, 19), rtol=0, atol=1e-4)


def test_frames_of_a_batch_of_silence_and_voice() -> None:
    rows = torch.from_numpy(np.stack([sing(1, 0.3), np.zeros(4800, np.float32)]))
    frames = Lfcc()(rows)
    assert isinstance(Lfcc(), FramewiseFeature)
    torch.testing.assert_close(frames[0], Lfcc()(rows[0]), rtol=0, atol=1e-4)
    assert frames[1, :, 0].numpy() == pytest.approx(np.log(1e-5) * np.sqrt(40), rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_bins": 0}, "num_bins=0"),
        ({"num_bins": 41}, "num_bins=41: expected a number between 1 and 40"),
        ({"num_bins": 40, "c0": False}, "num_bins=40: expected a number between 1 and 39"),
        ({"num_bands": 600}, r"num_bands=600: bands between 0 and 8000 Hz are 13\.3111 Hz apart"),
        ({"fmin_hz": 5000.0, "fmax_hz": 4000.0}, r"fmax_hz=4000\.0: expected a number between 5000 and 8000"),
        ({"fmax_hz": 9000.0}, r"fmax_hz=9000\.0: expected a number between 0 and 8000"),
        ({"floor_db": 0.0}, "floor_db=0"),
        ({"hop_ms": 0.01}, "hop_ms=0.01"),
    ],
)
def test_refuses_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        Lfcc(**settings)


def test_refuses_an_utterance_shorter_than_half_a_window() -> None:
    with pytest.raises(UtteranceError, match="lasts 32 ms, shorter than one frame"):
        Lfcc()(torch.zeros(512))
