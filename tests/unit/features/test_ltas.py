"""The long-term average: plain means over windows, of stationary and of moving sounds; a gain; edges; refusals."""

import numpy as np
import pytest
import torch
from support.audio import sing

from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.fbank import Fbank
from singer_verify.features.feature import FramewiseFeature, count_frames, reflect_edges
from singer_verify.features.ltas import LongTermAverage
from singer_verify.features.mel import MelSpectrogram
from singer_verify.inference.frames import compute_frame_chunks

MEL = MelSpectrogram(20, level_scale="db")


def test_frames_are_plain_means_and_deviations_of_the_window() -> None:
    samples = sing(1, 1.0)
    levels = MEL(torch.from_numpy(samples)).double().numpy()
    windows = np.stack([levels[k : k + 61] for k in range(41)])
    frames = LongTermAverage(MEL, window_ms=600)(torch.from_numpy(samples)).numpy()
    assert frames.shape == (101, 40)
    inner = slice(30, 71)  # windows inside of the recording
    np.testing.assert_allclose(frames[inner, :20], windows.mean(axis=1), atol=1e-3)
    np.testing.assert_allclose(frames[inner, 20:], windows.std(axis=1), atol=1e-3)


@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.0])
def test_edges_are_reflected_as_often_as_needed(seconds: float) -> None:
    samples = sing(2, seconds)
    frames = LongTermAverage(MEL, window_ms=400, deviation=False)(torch.from_numpy(samples)).numpy()
    levels = MEL(torch.from_numpy(np.pad(samples, 25 * 160, "reflect"))).double().numpy()[5:-5]
    assert len(frames) == 1 + len(samples) // 160
    np.testing.assert_allclose(frames, [levels[k : k + 41].mean(axis=0) for k in range(len(frames))], atol=1e-3)
    np.testing.assert_array_equal(reflect_edges(torch.from_numpy(samples), 4000), np.pad(samples, 4000, "reflect"))


def test_stationary_sound_gives_one_constant_spectrum() -> None:
    period = 0.1 * np.random.default_rng(0).standard_normal(160)  # one hop: all frames are equal
    samples = torch.from_numpy(np.tile(period, 150).astype(np.float32))
    frames = LongTermAverage(MEL, window_ms=300)(samples)[20:-20]
    torch.testing.assert_close(frames[:, :20], MEL(samples)[75].expand(len(frames), -1), rtol=0, atol=2e-3)
    assert frames[:, 20:].max() < 2e-3


def test_gain_moves_all_means_alike_and_no_deviation() -> None:
    samples = torch.from_numpy(sing(1) + 0.01 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32))
    feature = LongTermAverage(MEL)
    moved = feature(0.1 * samples) - feature(samples)
    torch.testing.assert_close(moved[:, :20], torch.full((101, 20), -20.0), rtol=0, atol=1e-3)
    torch.testing.assert_close(moved[:, 20:], torch.zeros(101, 20), rtol=0, atol=1e-3)


@pytest.mark.parametrize("base", [MEL, Fbank(20)])
@pytest.mark.parametrize("num_samples", [30_000, 30_080, 30_079])
def test_long_recordings_are_computed_in_pieces(base: FramewiseFeature, num_samples: int) -> None:
    feature, samples = LongTermAverage(base, window_ms=500), torch.from_numpy(sing(3, 2.0))[:num_samples]
    whole = feature(samples)
    assert len(whole) == count_frames(feature, num_samples) == count_frames(base, num_samples)
    for block_samples, piece_frames in ((700, 1), (16_001, 50)):
        pieces = list(compute_frame_chunks(feature, samples.split(block_samples), piece_frames))
        torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-4, rtol=1e-4)


def test_batch_gives_what_each_gives_alone() -> None:
    batch = torch.from_numpy(np.stack([sing(seed, 0.3) for seed in range(4)])).reshape(2, 2, -1)
    feature = LongTermAverage(MEL)
    torch.testing.assert_close(feature(batch)[1, 0], feature(batch[1, 0]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base": "cqt"}, "base=cqt: its frames depend on the whole utterance; expected a recipe like mel80"),
        ({"base": MelSpectrogram(8, high_pass_hz=30)}, "base=MelSpectrogram: its frames depend on the whole utterance"),
        ({"window_ms": 0}, "window_ms=0: expected a number between 20 and 60000"),
    ],
)
def test_refuses_settings(settings: dict, said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        LongTermAverage(**settings)


def test_refuses_an_utterance_too_short_for_the_base() -> None:
    with pytest.raises(UtteranceError, match="lasts 32 ms, shorter than one frame"):
        LongTermAverage(MEL)(torch.zeros(512))
