"""The mel recipe against librosa, and its limits."""

import librosa
import numpy as np
import pytest
import torch
from support.audio import sing

from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.mel import MelSpectrogram, build_mel_filterbank, compute_absolute_values
from singer_verify.features.recipe import build_feature, read_recipe


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


def test_absolute_values_are_those_of_abs_to_the_bit() -> None:
    """At zero, where squares are beyond the range of floats, in either layout, and of any count."""
    generator = torch.Generator().manual_seed(0)
    parts = torch.randn(2, 40, 10_003, generator=generator)
    real, imaginary = parts * 10.0 ** torch.randint(-30, 30, parts.shape, generator=generator)
    spectrum = torch.complex(real, imaginary)
    spectrum[0, :5] = 0.0
    for laid_out in (spectrum, spectrum.mT, spectrum[:, :7], spectrum[:1, :1]):
        expected, before = laid_out.abs(), laid_out.clone()
        assert torch.equal(compute_absolute_values(laid_out), expected)
        assert torch.equal(laid_out, before)
    assert compute_absolute_values(spectrum.to(torch.complex128)).dtype == torch.float64


@pytest.mark.parametrize("recipe", ["mel40", "lfcc", "gammatone", "pcen", "mfcc", "resemblyzer"])
def test_frames_with_and_without_a_gradient_are_the_same_to_the_bit(recipe: str) -> None:
    samples = torch.from_numpy(sing(3, 1.0))
    samples[:4000] = 0.0  # where only `abs` has a gradient
    feature = build_feature(read_recipe(recipe))
    frames = feature(samples.clone().requires_grad_())
    assert torch.equal(feature(samples), frames.detach())
    assert frames.requires_grad


def test_gradients_are_finite_in_digital_silence() -> None:
    spectrum = torch.zeros(3, dtype=torch.complex64, requires_grad=True)
    compute_absolute_values(spectrum).sum().backward()
    assert spectrum.grad is not None
    assert torch.equal(spectrum.grad, torch.zeros(3, dtype=torch.complex64))
