"""Per-channel energy normalisation against librosa, and by its properties."""

from typing import Any

import librosa
import numpy as np
import pytest
import torch
from scipy.signal import lfilter_zi
from support.audio import sing

from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.pcen import Pcen
from singer_verify.inference.frames import narrow_to_framewise


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gain": 0.8, "bias": 10.0, "power": 0.25, "time_constant_ms": 60.0},
        {"gain": 0.0, "bias": 0.0, "power": 1.0},
        {"time_constant_ms": 5000.0, "hop_ms": 20.0, "epsilon": 1e-3},
        {"time_constant_ms": 1.0},
    ],
)
@pytest.mark.parametrize("level", [1.0, 0.01])
def test_frames_are_librosas(settings: dict[str, Any], level: float) -> None:
    samples = (level * sing(1, 1.5)).astype(np.float32)
    feature = Pcen(**settings)
    mel = librosa.feature.melspectrogram(
        y=samples,
        sr=16_000,
        n_fft=1024,
        hop_length=feature.hop_samples,
        n_mels=40,
        fmin=90,
        fmax=7600,
        power=1.0,
        pad_mode="reflect",
    )
    smoothing = feature.smoothing
    expected = librosa.pcen(
        mel,
        sr=16_000,
        hop_length=feature.hop_samples,
        time_constant=feature.time_constant_ms / 1000,
        gain=feature.gain,
        bias=feature.bias,
        power=feature.power,
        eps=feature.epsilon,
        zi=lfilter_zi([smoothing], [1, smoothing - 1]) * mel[:, :1],  # as if the first frame had always been
    )
    np.testing.assert_allclose(feature(torch.from_numpy(samples)).numpy(), expected.T, atol=1e-4)


def test_a_gain_fades_away_with_the_mean() -> None:
    samples = torch.from_numpy(sing(1, 1.0))
    frames, louder = Pcen(gain=1.0, epsilon=1e-12)(samples), Pcen(gain=1.0, epsilon=1e-12)(100 * samples)
    torch.testing.assert_close(louder, frames, rtol=0, atol=1e-4)
    assert (Pcen()(100 * samples) - Pcen()(samples)).abs().max() < 0.1  # 100 to the power of 0.02, of 0.3


def test_stationary_sound_gives_constant_frames_and_silence_zeros() -> None:
    period = 0.1 * np.random.default_rng(0).standard_normal(160)  # one hop: all frames are equal
    frames = Pcen(gain=1.0)(torch.from_numpy(np.tile(period, 300).astype(np.float32)))[-20:-4]
    torch.testing.assert_close(frames, torch.full_like(frames, float(3**0.5 - 2**0.5)), rtol=0, atol=1e-2)
    assert Pcen()(torch.zeros(8000)).abs().max() == 0.0


def test_frames_line_up_with_mel_and_a_batch_gives_what_each_gives_alone() -> None:
    batch = torch.from_numpy(np.stack([sing(seed, 0.5) for seed in range(4)])).reshape(2, 2, -1)
    frames = Pcen()(batch)
    assert frames.shape == MelSpectrogram(40)(batch).shape
    torch.testing.assert_close(frames[1, 0], Pcen()(batch[1, 0]), rtol=0, atol=1e-5)
    assert narrow_to_framewise(Pcen()) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_bins": 0}, "num_bins=0"),
        ({"gain": 1.5}, r"gain=1\.5: expected a number between 0 and 1"),
        ({"bias": -1.0}, r"bias=-1\.0: expected a number between 0 and 1000"),
        ({"power": 0.0}, r"power=0\.0: expected a number between 0\.01 and 1"),
        ({"time_constant_ms": 0.0}, r"time_constant_ms=0\.0: expected a number between 1 and 60000"),
        ({"epsilon": 0.0}, r"epsilon=0\.0: expected a number between"),
    ],
)
def test_refuses_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        Pcen(**settings)


def test_refuses_an_utterance_shorter_than_half_a_window() -> None:
    with pytest.raises(UtteranceError, match="lasts 32 ms, shorter than one frame"):
        Pcen()(torch.zeros(512))
