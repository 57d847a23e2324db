"""The gammatone filter bank against scipy's filters, in frequency and in time, and by its properties."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import freqz, gammatone, lfilter
from support.audio import sing

from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.feature import FramewiseFeature
from singer_verify.features.gammatone import Gammatone, compute_centres_hz, compute_gammatone_responses
from singer_verify.features.mel import MelSpectrogram


@pytest.mark.parametrize("centre_hz", [80.0, 200.0, 500.0, 1000.0, 3000.0, 5000.0])
def test_responses_are_those_of_scipys_filters(centre_hz: float) -> None:
    frequencies_hz = np.arange(20.0, 7000.0, 5.0)
    _, expected = freqz(*gammatone(centre_hz, "iir", fs=16_000), frequencies_hz, fs=16_000)
    ours = compute_gammatone_responses(np.array([centre_hz]), frequencies_hz)[0]
    np.testing.assert_allclose(ours, np.abs(expected), atol=0.01)


def test_mean_powers_are_those_of_filtering_in_time() -> None:
    samples = np.random.default_rng(0).standard_normal(48_000)
    feature = Gammatone(12)
    frames = feature(torch.from_numpy(samples.astype(np.float32))).double().numpy()
    powers = np.exp(2 * frames).mean(axis=0) / (512 * np.square(np.hanning(1025)).sum())  # of half of the spectrum
    centres_hz = compute_centres_hz(12, 80.0, 7600.0)
    filtered = [lfilter(*gammatone(centre_hz, "iir", fs=16_000), samples) for centre_hz in centres_hz]
    # the highest band ends at half the sample rate, where scipy's filter is folded
    np.testing.assert_allclose(powers[:-1], np.square(filtered).mean(axis=1)[:-1], rtol=0.1)


def test_centres_are_equally_far_apart_on_the_erb_scale() -> None:
    centres_hz = compute_centres_hz(64, 80.0, 7600.0)
    scale = 21.366 * np.log10(1 + 4.368 * centres_hz / 1000)
    assert centres_hz[[0, -1]] == pytest.approx([80.0, 7600.0])
    np.testing.assert_allclose(np.diff(scale), np.diff(scale).mean(), rtol=1e-3)


def test_a_sine_lights_the_band_of_its_frequency() -> None:
    centres_hz, time_s = compute_centres_hz(64, 80.0, 7600.0), torch.arange(8000, dtype=torch.float64) / 16_000
    for band in (5, 30, 60):
        sine = 0.3 * torch.sin(2 * torch.pi * centres_hz[band] * time_s)
        assert Gammatone()(sine.float())[25].argmax() == band


def test_a_gain_adds_to_log_levels_and_scales_cubic_roots() -> None:
    noise = 0.1 * torch.randn(8000, generator=torch.Generator().manual_seed(0))
    log, root = Gammatone(), Gammatone(compression="cubic_root")
    torch.testing.assert_close(log(8 * noise), log(noise) + np.log(8), rtol=0, atol=1e-4)
    torch.testing.assert_close(root(8 * noise), 2 * root(noise), rtol=1e-4, atol=0)
    torch.testing.assert_close(root(noise), (log(noise) / 3).exp(), rtol=1e-4, atol=0)
    torch.testing.assert_close(log(torch.zeros(800)), torch.full((6, 64), float(np.log(1e-5))))


def test_frames_line_up_with_mel_and_a_batch_gives_what_each_gives_alone() -> None:
    batch = torch.from_numpy(np.stack([sing(seed, 0.3) for seed in range(2)]))
    frames = Gammatone()(batch)
    assert isinstance(Gammatone(), FramewiseFeature)
    assert frames.shape[1] == MelSpectrogram(40)(batch).shape[1]
    torch.testing.assert_close(frames[1], Gammatone()(batch[1]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_bins": 0}, "num_bins=0"),
        ({"n_fft": 256}, r"n_fft=256: a bin of 62\.5 Hz is wider than the band at fmin_hz=80 \(33\.3351 Hz\)"),
        ({"fmin_hz": 10.0}, r"fmin_hz=10\.0: expected a number between 20 and 8000"),
        ({"fmin_hz": 5000.0, "fmax_hz": 4000.0}, r"fmax_hz=4000\.0: expected a number between 5000 and 8000"),
        ({"compression": "root"}, "compression=root: expected one of log, cubic_root"),
        ({"floor_db": 0.0}, "floor_db=0"),
    ],
)
def test_refuses_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        Gammatone(**settings)


def test_refuses_an_utterance_shorter_than_half_a_window() -> None:
    with pytest.raises(UtteranceError, match="lasts 32 ms, shorter than one frame"):
        Gammatone()(torch.zeros(512))
