"""Cepstra, energy, deltas and stacks, against librosa, scipy and slow loops."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
import yaml
from scipy.fft import dct
from support.audio import sing

from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.deltas import Deltas
from singer_verify.features.energy import Energy
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.mfcc import Mfcc
from singer_verify.features.resemblyzer import Resemblyzer
from singer_verify.features.stack import FeatureStack

SAMPLES = torch.from_numpy(sing(1))


@pytest.mark.parametrize(("c0", "first"), [(True, 0), (False, 1)])
def test_mfcc_is_the_cosine_transform_of_log_mel(c0: bool, first: int) -> None:
    log_mel = MelSpectrogram(40, level_scale="log")(SAMPLES).numpy()
    expected = dct(log_mel, type=2, norm="ortho", axis=1)[:, first : first + 13]
    np.testing.assert_allclose(Mfcc(13, 40, c0=c0)(SAMPLES).numpy(), expected, atol=1e-4)
    of_librosa = librosa.feature.mfcc(S=log_mel.T, n_mfcc=20).T[:, first : first + 13]
    np.testing.assert_allclose(expected, of_librosa, atol=1e-4)


def test_without_c0_the_level_of_a_recording_does_not_matter() -> None:
    noise = 0.1 * torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Mfcc(c0=False)(noise), Mfcc(c0=False)(2 * noise), rtol=0, atol=1e-4)


def test_energy_is_twice_the_logarithm_of_librosas_rms() -> None:
    rms = librosa.feature.rms(y=SAMPLES.numpy(), frame_length=400, hop_length=160, pad_mode="constant")[0]
    np.testing.assert_allclose(Energy()(SAMPLES).numpy()[:, 0], 2 * np.log(rms), atol=1e-4)
    assert Energy(floor_db=-80)(torch.zeros(400)).numpy() == pytest.approx(np.log(1e-8))


def test_deltas_are_the_regression_formula() -> None:
    frames = MelSpectrogram(40)(SAMPLES).double().numpy()

    def slope(values: np.ndarray, reach: int) -> np.ndarray:
        last, steps = len(values) - 1, range(1, reach + 1)
        divisor = 2 * sum(step**2 for step in steps)
        return np.array(
            [
                sum(step * (values[min(t + step, last)] - values[max(t - step, 0)]) for step in steps) / divisor
                for t in range(len(values))
            ]
        )

    joined = Deltas(MelSpectrogram(40), reach=4)(SAMPLES).numpy()
    assert joined.shape == (101, 120)
    np.testing.assert_allclose(joined, np.hstack([frames, slope(frames, 4), slope(slope(frames, 4), 4)]), atol=1e-5)
    of_librosa = librosa.feature.delta(frames, width=9, axis=0)
    np.testing.assert_allclose(joined[4:-4, 40:80], of_librosa[4:-4], atol=1e-5)


def test_a_stack_holds_its_parts_side_by_side() -> None:
    parts = MelSpectrogram(40), Energy(), Mfcc(13)
    stack = FeatureStack(parts)
    torch.testing.assert_close(stack(SAMPLES), torch.cat([part(SAMPLES) for part in parts], dim=1))
    assert stack.num_bins == 54
    assert FeatureStack([MelSpectrogram(40), Energy()]).bandwidth_hz == 8000
    batch = torch.stack([SAMPLES, 0.5 * SAMPLES])
    torch.testing.assert_close(Deltas(stack)(batch), torch.stack([Deltas(stack)(samples) for samples in batch]))


class OneMoreFrame(MelSpectrogram):
    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        frames = super().forward(samples)
        return torch.cat([frames, frames[-1:]])


def test_a_frame_more_at_the_end_is_left_out() -> None:
    assert FeatureStack([OneMoreFrame(40), Energy()])(SAMPLES).shape == (101, 41)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            [MelSpectrogram(40), Energy(hop_ms=5)],
            "MelSpectrogram has a hop of 10 ms, Energy a hop of 5 ms; expected the same: set hop_ms",
        ),
        (["mel40", "mel128_44k"], "mel40 has a sample rate of 16000 Hz, mel128_44k a sample rate of 44100 Hz"),
        ([], "expected a list of recipes"),
        ("mel40", "expected a list of recipes"),
        (["mel40", "mel41"], "features=mel41: no file"),
        (
            [MelSpectrogram(40).recipe | {"normalise": "utterance_bins"}],
            "a part of a recipe has normalise: utterance_bins; exp",
        ),
    ],
)
def test_refuses_parts_that_do_not_fit(parts: list, said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        FeatureStack(parts)


def test_refuses_a_recipe_that_contains_itself(tmp_path: Path) -> None:
    path = tmp_path / "round.yaml"
    path.write_text(yaml.safe_dump({"_target_": FeatureStack.__module__ + ".FeatureStack", "stack": [str(path)]}))
    with pytest.raises(SingerVerifyError, match=r"round.yaml: contains itself; name other recipes"):
        FeatureStack([str(path)])


def test_refuses_parts_that_count_frames_differently() -> None:
    with pytest.raises(UtteranceError, match="found 101 of MelSpectrogram, 160 of Resemblyzer: leave one out"):
        FeatureStack([MelSpectrogram(40), Resemblyzer()])(SAMPLES)


def test_refuses_an_utterance_shorter_than_a_frame() -> None:
    with pytest.raises(UtteranceError, match="lasts 12 ms, shorter than one frame; at least 25 ms is needed"):
        Energy()(torch.zeros(200))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Mfcc(41, 40), "num_bins=41: expected a number between 1 and 40"),
        (lambda: Deltas("mel40", orders=3), "orders=3: expected a number between 1 and 2"),
        (lambda: Energy(frame_ms=0), "frame_ms=0: expected a number between 1 and 1000"),
    ],
)
def test_refuses_settings(make: object, said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        make()
