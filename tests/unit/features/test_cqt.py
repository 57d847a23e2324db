"""The constant-Q transform against librosa and by its properties."""

import librosa
import numpy as np
import pytest
import torch
from support.audio import sing

from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.cqt import Cqt
from singer_verify.features.mel import MelSpectrogram


@pytest.mark.parametrize("bins_per_octave", [12, pytest.param(24, marks=pytest.mark.slow)])
def test_amplitudes_are_librosas(bins_per_octave: int) -> None:
    samples = sing(1, 2.0)
    feature = Cqt(6, bins_per_octave)
    settings = {"fmin": 61.74, "n_bins": 6 * bins_per_octave, "bins_per_octave": bins_per_octave}
    theirs = np.abs(librosa.cqt(samples, sr=16_000, hop_length=160, sparsity=0, scale=False, tuning=0, **settings))
    frequencies_hz = librosa.cqt_frequencies(settings["n_bins"], fmin=61.74, bins_per_octave=bins_per_octave)
    lengths, _ = librosa.filters.wavelet_lengths(freqs=frequencies_hz, sr=16_000)
    ours = feature(torch.from_numpy(samples)).exp().numpy().T
    theirs = theirs / lengths[:, None]
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours[:, 50:-50], theirs[:, 50:-50], atol=0.02 * theirs.max())


def test_a_sine_lights_its_semitone_at_half_its_amplitude() -> None:
    time_s = torch.arange(32_000, dtype=torch.float64) / 16_000
    for semitone in (20, 45, 80):
        sine = 0.3 * torch.sin(2 * torch.pi * 61.74 * 2 ** (semitone / 12) * time_s)
        frame = Cqt()(sine.float())[100]
        assert frame.argmax() == semitone
        assert frame[semitone].exp() == pytest.approx(0.15, rel=0.01)


def test_frames_line_up_with_mel_and_a_batch_gives_what_each_gives_alone() -> None:
    batch = torch.from_numpy(np.stack([sing(seed) for seed in range(2)]))
    frames = Cqt()(batch)
    assert frames.shape[1] == MelSpectrogram(40)(batch).shape[1]
    torch.testing.assert_close(frames, torch.stack([Cqt()(samples) for samples in batch]), rtol=1e-4, atol=1e-3)
    assert Cqt()(torch.zeros(16_000)).max() == pytest.approx(np.log(1e-5))


def test_refuses_what_lies_above_half_the_sample_rate_and_too_short_an_utterance() -> None:
    with pytest.raises(SingerVerifyError, match=r"fmin_hz=61.74: expected a number between 10 and 31.25"):
        Cqt(8)
    with pytest.raises(UtteranceError, match="lasts 6 ms, shorter than one frame"):
        Cqt()(torch.zeros(100))
