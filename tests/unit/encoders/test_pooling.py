"""Pooling over time: against plain loops, for one frame, and where nothing changes."""

import math

import numpy as np
import pytest
import torch

from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.encoders.pooling import POOLINGS, AttentiveStatisticsPooling, build_pooling
from singer_verify.errors import SingerVerifyError

CHANNELS, ATTENTION = 3, 4


def draw_frames(num_frames: int, offset: float = 0.0) -> torch.Tensor:
    return offset + torch.randn(2, CHANNELS, num_frames, generator=torch.Generator().manual_seed(num_frames))


def pool_by_loops(pooling: torch.nn.Module, name: str, frames: np.ndarray) -> list[float]:
    """Pool one utterance (channels, frames) with sums of single numbers."""
    channels, num_frames = frames.shape
    weights = np.full((channels, num_frames), 1 / num_frames)
    means = [sum(frames[c]) / num_frames for c in range(channels)]
    deviations = [
        math.sqrt(sum((x - means[c]) ** 2 for x in frames[c]) / max(num_frames - 1, 1)) for c in range(channels)
    ]
    if name == "mean":
        return means
    if name == "statistics":
        return means + deviations
    assert isinstance(pooling, AttentiveStatisticsPooling)
    hidden, hidden_bias, score, score_bias = (
        tensor.detach().double().reshape(len(tensor), -1).numpy()
        for tensor in (pooling.hidden.weight, pooling.hidden.bias, pooling.score.weight, pooling.score.bias)
    )
    scores = []
    for t in range(num_frames):
        given = list(frames[:, t]) + (means + deviations if name.startswith("context") else [])
        active = [math.tanh(row @ given + bias[0]) for row, bias in zip(hidden, hidden_bias, strict=True)]
        scores.append([row @ active + bias[0] for row, bias in zip(score, score_bias, strict=True)])
    for c in range(channels):
        own = [math.exp(values[c if len(values) > 1 else 0]) for values in scores]
        weights[c] = [value / sum(own) for value in own]
    means = [weights[c] @ frames[c] for c in range(channels)]
    return means + [math.sqrt(weights[c] @ (frames[c] - means[c]) ** 2) for c in range(channels)]


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("num_frames", [1, 2, 17])
def test_pools_as_plain_loops_do(name: str, num_frames: int) -> None:
    torch.manual_seed(0)
    pooling, frames = build_pooling(name, CHANNELS, ATTENTION), draw_frames(num_frames)
    pooled = pooling(frames)
    assert pooled.shape == (2, pooling.width)
    expected = [pool_by_loops(pooling, name, utterance.double().numpy()) for utterance in frames]
    torch.testing.assert_close(pooled, torch.tensor(expected).float(), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("frames", [torch.zeros(2, CHANNELS, 9), torch.full((2, CHANNELS, 9), 5.0), draw_frames(1)])
def test_values_and_gradients_are_finite_where_nothing_changes(name: str, frames: torch.Tensor) -> None:
    pooling, frames = build_pooling(name, CHANNELS, ATTENTION), frames.clone().requires_grad_()
    pooled = pooling(frames)
    pooled.sum().backward()
    assert pooled.isfinite().all()
    assert frames.grad is not None
    assert frames.grad.isfinite().all()
    assert all(part.grad is None or part.grad.isfinite().all() for part in pooling.parameters())
    if pooling.width > CHANNELS:
        assert (pooled[:, CHANNELS:] < 1e-4).all()


@pytest.mark.parametrize("name", POOLINGS[1:])
def test_a_deviation_is_right_far_from_zero(name: str) -> None:
    """The difference of the mean square and the squared mean would lose all digits here."""
    pooling, frames = build_pooling(name, CHANNELS, ATTENTION), draw_frames(50)
    with torch.no_grad():
        for part in pooling.parameters():
            part.zero_()  # equal weights
    torch.testing.assert_close(pooling(1000.0 + frames)[:, CHANNELS:], pooling(frames)[:, CHANNELS:], atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", POOLINGS)
def test_neither_order_nor_neighbours_matter(name: str) -> None:
    pooling, frames = build_pooling(name, CHANNELS, ATTENTION), draw_frames(12)
    torch.testing.assert_close(pooling(frames.flip(2)), pooling(frames), atol=1e-5, rtol=0)
    torch.testing.assert_close(pooling(frames[:1]), pooling(frames)[:1], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "num_parameters"),
    [
        ("mean", 0),
        ("statistics", 0),
        ("attentive_statistics", 3 * 4 + 4 + 4 + 1),
        ("channel_attentive_statistics", 3 * 4 + 4 + 4 * 3 + 3),
        ("context_attentive_statistics", 9 * 4 + 4 + 4 * 3 + 3),
    ],
)
def test_attention_has_the_published_sizes(name: str, num_parameters: int) -> None:
    assert sum(part.numel() for part in build_pooling(name, CHANNELS, ATTENTION).parameters()) == num_parameters


def test_refuses_what_is_no_pooling() -> None:
    with pytest.raises(SingerVerifyError, match=r"encoder\.pooling=max: expected one of mean, statistics, attentive"):
        build_pooling("max", 3)
    with pytest.raises(SingerVerifyError, match=r"encoder\.attention_channels=0: expected an integer of at least 1"):
        build_pooling("attentive_statistics", 3, 0)


def test_an_lstm_is_pooled_by_statistics_of_all_its_outputs() -> None:
    torch.manual_seed(0)
    encoder, frames = LSTMEncoder(5, 6, 1, 4, relu=False, pooling="statistics"), torch.rand(2, 9, 5)
    outputs, _ = encoder.lstm(frames)
    deviation, mean = torch.std_mean(outputs, dim=1)
    expected = torch.nn.functional.normalize(encoder.linear(torch.cat([mean, deviation], dim=1)), dim=1)
    torch.testing.assert_close(encoder(frames), expected)
    assert "pooling.hidden.weight" in LSTMEncoder(5, 6, 1, 4, pooling="attentive_statistics").state_dict()
