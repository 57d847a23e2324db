"""The mel recipe against librosa, and its limits."""

import librosa
import numpy as np
import pytest
import torch
from support.audio import sing

from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.mel import MelSpectrogram, build_mel_filterbank
from singer_verify.features.recipe import build_feature


def librosa_mel(samples: np.ndarray, num_bins: int) -> np.ndarray:
    magnitudes = np.abs(
        librosa.stft(samples, n_fft=1024, hop_length=160, window="hann", center=True, pad_mode="reflect")
    )
    filterbank = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=num_bins, fmin=90, fmax=7600)
    level_db = 20 * np.log10(np.maximum(1e-5, filterbank @ magnitudes)) - 16
    return np.clip((level_db + 100) / 100, 0, 1).T


@pytest.mark.parametrize("num_bins", [40, 80])
def test_equals_librosa(num_bins: int) -> None:
    samples = sing(1, 1.3)
    frames = MelSpectrogram(num_bins)(torch.from_numpy(samples)).numpy()
    expected = librosa_mel(samples, num_bins)
    assert frames.shape == expected.shape == (1 + samples.size // 160, num_bins)
    np.testing.assert_allclose(frames, expected, atol=1e-4)


def test_a_batch_gives_what_each_gives_alone() -> None:
    batch = torch.from_numpy(np.stack([sing(seed) for seed in range(3)]))
    mel = MelSpectrogram(40)
    torch.testing.assert_close(mel(batch), torch.stack([mel(samples) for samples in batch]))


def test_silence_is_zero_and_ten_times_louder_is_a_fifth_more() -> None:
    assert MelSpectrogram(40)(torch.zeros(4000)).max() == 0.0
    tone = 0.001 * torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000)
    quiet, loud = MelSpectrogram(40)(tone)[50], MelSpectrogram(40)(10 * tone)[50]
    torch.testing.assert_close((loud - quiet)[quiet > 0.1], torch.full(((quiet > 0.1).sum(),), 0.2))


def test_a_tone_lights_the_band_around_it() -> None:
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)
    brightest = MelSpectrogram(40)(tone)[50].argmax().item()
    band = build_mel_filterbank(40, 16_000, 1024, 90, 7600)[brightest]
    assert band[round(1000 / 16_000 * 1024)] > 0


def test_the_recipe_rebuilds_the_feature() -> None:
    mel = MelSpectrogram(40, hop_ms=5, floor_db=-80)
    samples = torch.from_numpy(sing(2))
    rebuilt = build_feature(mel.recipe)
    assert rebuilt.recipe == mel.recipe
    torch.testing.assert_close(rebuilt(samples), mel(samples))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_bins": 0}, "num_bins=0: expected an integer of at least 1"),
        ({"num_bins": 40, "fmax_hz": 9000}, "fmax_hz=9000: expected a number between 0 and 8000"),
        ({"num_bins": 40, "hop_ms": 0.01}, "hop_ms=0.01"),
        ({"num_bins": 400}, "narrower than a bin"),
    ],
)
def test_refuses_settings(settings: dict, said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        MelSpectrogram(**settings)


def test_refuses_an_utterance_shorter_than_a_frame() -> None:
    with pytest.raises(UtteranceError, match="lasts 25 ms, shorter than one frame; at least 32 ms is needed"):
        MelSpectrogram(40)(torch.zeros(400))


def test_a_recipe_cannot_name_other_classes() -> None:
    for target in ("os.system", "singer_verify.errors.SingerVerifyError", "singer_verify.features.mel.torch"):
        with pytest.raises(SingerVerifyError):
            build_feature({"_target_": target})
