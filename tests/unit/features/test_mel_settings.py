"""Settings of the mel recipe against librosa and scipy: level scales, high-pass, pre-emphasis; and full band."""

import librosa
import numpy as np
import pytest
import torch
from scipy.signal import butter, filtfilt, lfilter
from support.audio import sing

from singer_verify.errors import SingerVerifyError
from singer_verify.features.mel import MelSpectrogram, WaveformFilter


def librosa_bands(samples: np.ndarray) -> np.ndarray:
    filterbank = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=40, fmin=90, fmax=7600)
    return (filterbank @ np.abs(librosa.stft(samples, n_fft=1024, hop_length=160, pad_mode="reflect"))).T


def test_level_scales_are_decibels_and_natural_logarithm() -> None:
    samples = sing(1)
    bands = librosa_bands(samples)
    level_db = MelSpectrogram(40, level_scale="db")(torch.from_numpy(samples)).numpy()
    np.testing.assert_allclose(level_db, librosa.amplitude_to_db(bands, top_db=None), atol=2e-3)
    level = MelSpectrogram(40, level_scale="log")(torch.from_numpy(samples)).numpy()
    np.testing.assert_allclose(level, np.log(np.maximum(bands, 1e-5)), atol=2e-4)


def test_full_band_equals_librosa() -> None:
    samples = sing(1, 1.0, 44_100)
    feature = MelSpectrogram(128, 44_100, 2048, 10, 0, 22_050, level_scale="log")
    bands = librosa.feature.melspectrogram(
        y=samples, sr=44_100, n_fft=2048, hop_length=441, n_mels=128, power=1.0, pad_mode="reflect"
    )
    np.testing.assert_allclose(feature(torch.from_numpy(samples)).numpy(), np.log(np.maximum(bands.T, 1e-5)), atol=1e-3)


@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
def test_the_high_pass_is_scipys(sample_rate: int) -> None:
    samples = sing(1, 0.5, sample_rate) + 0.3
    filtered = WaveformFilter(sample_rate, high_pass_hz=30)(torch.from_numpy(samples)).numpy()
    expected = filtfilt(*butter(5, 30 / (sample_rate / 2), "highpass"), samples.astype(np.float64))
    np.testing.assert_allclose(filtered, expected, atol=1e-6)
    assert abs(filtered[len(filtered) // 2 :].mean()) < 1e-2  # of an offset of 0.3


def test_a_batch_is_filtered_like_each_alone() -> None:
    batch = torch.from_numpy(np.stack([sing(seed) for seed in range(2)]))
    mel = MelSpectrogram(40, high_pass_hz=30, pre_emphasis=0.97)
    torch.testing.assert_close(mel(batch), torch.stack([mel(samples) for samples in batch]))


def test_pre_emphasis_is_a_filter_that_begins_as_if_the_first_sample_had_always_been() -> None:
    samples = sing(3, 0.1)
    expected = lfilter([1, -0.97], [1], samples, zi=-0.97 * samples[:1])[0]
    emphasised = WaveformFilter(16_000, pre_emphasis=0.97)(torch.from_numpy(samples)).numpy()
    np.testing.assert_allclose(emphasised, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"level_scale": "bel"}, "level_scale=bel: expected one of unit, db, log"),
        ({"high_pass_hz": 9000}, "high_pass_hz=9000: expected a number between 0 and 7840"),
        ({"pre_emphasis": 2}, "pre_emphasis=2: expected a number between 0 and 1"),
    ],
)
def test_refuses_settings(settings: dict, said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        MelSpectrogram(40, **settings)
