"""Kaldi's filter bank: against kaldi_native_fbank, by its properties, and without its mean over the recording."""

from typing import Any

import kaldi_native_fbank
import numpy as np
import pytest
import torch
from support.audio import sing

from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.fbank import Fbank
from singer_verify.features.feature import FramewiseFeature, count_frames
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.recipe import build_feature, read_recipe
from singer_verify.inference.end_to_end import find_min_samples, find_torch_obstacle


def compute_in_kaldi(samples: np.ndarray, **settings: Any) -> np.ndarray:
    feature = Fbank(**settings)
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.samp_freq = feature.sample_rate
    options.frame_opts.frame_length_ms, options.frame_opts.frame_shift_ms = feature.frame_ms, feature.hop_ms
    options.frame_opts.window_type = feature.window
    options.mel_opts.num_bins = feature.num_bins
    options.mel_opts.low_freq, options.mel_opts.high_freq = feature.fmin_hz, feature.fmax_hz
    bank = kaldi_native_fbank.OnlineFbank(options)
    bank.accept_waveform(feature.sample_rate, (samples * feature.full_scale).tolist())
    bank.input_finished()
    return np.stack([bank.get_frame(number) for number in range(bank.num_frames_ready)])


def generate_samples(kind: str, sample_rate: int = 16_000) -> np.ndarray:
    generator = np.random.default_rng(0)
    samples = {
        "voice": sing(1, 1.03, sample_rate),
        "noise": 0.3 * generator.standard_normal(sample_rate),
        "whisper": 1e-4 * generator.standard_normal(sample_rate),
        "voice with an offset": 0.5 + sing(2, 0.5, sample_rate),
        "too loud": 8.0 * sing(3, 0.5, sample_rate),
        "silence before a click": np.eye(1, 8000, 5000)[0],
        "one frame": sing(4, 0.025, sample_rate),
    }
    return samples[kind].astype(np.float32)


@pytest.mark.parametrize(
    "kind",
    ["voice", "noise", "whisper", "voice with an offset", "too loud", "silence before a click", "one frame"],
)
def test_frames_are_those_of_kaldi(kind: str) -> None:
    samples = generate_samples(kind)
    np.testing.assert_allclose(Fbank()(torch.from_numpy(samples)).numpy(), compute_in_kaldi(samples), atol=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_bins": 40},
        {"window": "hamming"},
        {"full_scale": 1.0},
        {"fmin_hz": 100.0, "fmax_hz": 7600.0},
        {"sample_rate": 44_100, "num_bins": 128, "fmax_hz": 20_000.0},
        {"sample_rate": 8000, "num_bins": 23, "fmax_hz": 4000.0, "frame_ms": 32.0, "hop_ms": 8.0},
    ],
)
def test_frames_are_those_of_kaldi_with_other_settings(settings: dict[str, Any]) -> None:
    samples = sing(1, 0.6, settings.get("sample_rate", 16_000))
    frames = Fbank(**settings)(torch.from_numpy(samples)).numpy()
    np.testing.assert_allclose(frames, compute_in_kaldi(samples, **settings), atol=1e-3)


@pytest.mark.parametrize(("num_samples", "num_frames"), [(400, 1), (559, 1), (560, 2), (16_000, 98), (16_123, 99)])
def test_law_of_frames(num_samples: int, num_frames: int) -> None:
    feature = Fbank()
    assert isinstance(feature, FramewiseFeature)
    assert len(feature(torch.zeros(num_samples))) == num_frames
    assert count_frames(feature, num_samples) == num_frames
    assert count_frames(feature, np.array([num_samples, 400])).tolist() == [num_frames, 1]
    assert count_frames(MelSpectrogram(8), num_samples) == 1 + num_samples // 160


def test_shortest_recording_is_one_frame() -> None:
    assert find_min_samples(Fbank()) == 400
    with pytest.raises(UtteranceError, match="lasts 25 ms, shorter than one frame; at least 25 ms"):
        Fbank()(torch.zeros(399))


def test_rows_of_a_batch_do_not_touch_each_other() -> None:
    rows = torch.from_numpy(np.stack([sing(seed, 0.3) for seed in range(4)])).reshape(2, 2, -1)
    together = Fbank()(rows)
    assert together.shape == (2, 2, 28, 80)
    torch.testing.assert_close(together[1, 0], Fbank()(rows[1, 0]), rtol=0, atol=1e-5)


def test_silence_is_the_logarithm_of_the_smallest_power() -> None:
    torch.testing.assert_close(Fbank()(torch.zeros(800)), torch.full((3, 80), float(np.log(np.finfo(np.float32).eps))))


def test_shipped_recipe_removes_the_mean_and_with_it_the_level() -> None:
    recipe = read_recipe("fbank")
    assert recipe["normalise"] == "utterance_mean"
    feature = build_feature(recipe)
    assert isinstance(feature, Fbank)
    assert find_torch_obstacle(feature) is None
    assert feature.recipe == Fbank().recipe


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_bins": 0}, "num_bins=0"),
        ({"num_bins": 200}, "num_bins=200: .* bands between 20 and 8000 Hz are narrower than a bin"),
        ({"fmax_hz": 8001.0}, "fmax_hz=8001"),
        ({"full_scale": 0.0}, "full_scale=0"),
        ({"window": "hann"}, "window=hann: expected one of povey, hamming"),
        ({"hop_ms": 0.01}, "hop_ms=0.01"),
        ({"frame_ms": 0.0}, "frame_ms=0"),
    ],
)
def test_refuses_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        Fbank(**settings)
