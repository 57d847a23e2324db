"""The angular prototypical loss against one query and one prototype at a time, symmetries and refusals."""

import math
import re

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from singer_verify.errors import SingerVerifyError
from singer_verify.losses.angular_prototypical import AngularPrototypicalLoss
from singer_verify.losses.weighted import WeightedLoss


def draw(*shape: int) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return normalize(values, dim=-1)


def compute_by_loops(embeddings: np.ndarray, scale: float, offset: float) -> tuple[float, float]:
    """Equations 8 and 9 of Chung et al. 2020: (singers, utterances, size) → loss, accuracy."""
    losses, right = [], []
    for number, utterances in enumerate(embeddings):
        query, similarities = utterances[-1], []
        for others in embeddings:
            prototype = sum(others[:-1]) / (len(others) - 1)
            cosine = query @ prototype / (np.linalg.norm(query) * np.linalg.norm(prototype))
            similarities.append(scale * cosine + offset)
        losses.append(math.log(sum(math.exp(similarity) for similarity in similarities)) - similarities[number])
        right.append(int(np.argmax(similarities)) == number)
    return float(np.mean(losses)), float(np.mean(right))


@pytest.mark.parametrize("shape", [(5, 4, 8), (2, 2, 3), (7, 3, 2)])
@pytest.mark.parametrize(("scale", "offset"), [(10.0, -5.0), (0.5, 3.0)])
def test_it_equals_the_loops(shape: tuple[int, int, int], scale: float, offset: float) -> None:
    embeddings = draw(*shape)
    outputs = AngularPrototypicalLoss(scale, offset).double()(embeddings, torch.arange(shape[0]))
    value, accuracy = compute_by_loops(embeddings.numpy(), scale, offset)
    assert float(outputs["angular"].detach()) == pytest.approx(value, abs=1e-9)
    assert float(outputs["angular/accuracy"]) == pytest.approx(accuracy)


def test_the_gradient_is_that_of_differences() -> None:
    loss = AngularPrototypicalLoss().double().eval()  # in training the scale is kept positive in place
    embeddings = draw(3, 3, 4).requires_grad_()

    def compute(embeddings: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
        parameters = {"scale": scale, "offset": offset}
        return torch.func.functional_call(loss, parameters, (embeddings, torch.arange(3)))["angular"]

    scale, offset = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (10.0, -5.0))
    assert torch.autograd.gradcheck(compute, (embeddings, scale, offset))


def test_it_depends_on_neither_the_order_of_singers_nor_that_of_the_supporting_utterances() -> None:
    loss, embeddings, order = AngularPrototypicalLoss().double(), draw(5, 4, 8), torch.tensor([3, 0, 4, 1, 2])
    expected = loss(embeddings, torch.arange(5))
    torch.testing.assert_close(loss(embeddings[order], order), expected)
    torch.testing.assert_close(loss(embeddings[:, [2, 0, 1, 3]], torch.arange(5)), expected)
    assert not torch.isclose(loss(embeddings[:, [3, 0, 1, 2]], torch.arange(5))["angular"], expected["angular"])


def test_it_is_small_for_separate_singers_chance_for_equal_ones_and_finite_for_zeros() -> None:
    loss = AngularPrototypicalLoss()
    assert loss(torch.eye(4)[:, None].repeat(1, 3, 1), torch.arange(4))["angular"] < 2e-4
    equal = loss(torch.ones(4, 3, 4) / 2, torch.arange(4))["angular"]
    torch.testing.assert_close(equal, torch.tensor(math.log(4)))
    zeros = torch.zeros(2, 2, 3, requires_grad=True)
    loss(zeros, torch.arange(2))["angular"].backward()
    assert zeros.grad is not None
    assert zeros.grad.isfinite().all()


def test_the_scale_stays_positive() -> None:
    loss = AngularPrototypicalLoss()
    with torch.no_grad():
        loss.scale.fill_(-3.0)
    loss(draw(3, 2, 4).float(), torch.arange(3))
    assert loss.scale > 0


def test_it_is_finite_in_float32_under_autocast() -> None:
    whole = WeightedLoss({"angular": AngularPrototypicalLoss()}, {"angular": 1.0})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = whole(draw(3, 2, 4).bfloat16(), torch.arange(3))
    assert all(value.dtype == torch.float32 and value.isfinite() for value in outputs.values())


@pytest.mark.parametrize("shape", [(1, 4, 8), (4, 1, 8)])
def test_refuses_batches_without_comparison(shape: tuple[int, int, int]) -> None:
    with pytest.raises(SingerVerifyError, match=f"{shape[0]} singers × {shape[1]} utterances; it needs at least 2 × 2"):
        AngularPrototypicalLoss()(torch.ones(shape), torch.arange(shape[0]))


@pytest.mark.parametrize(
    ("setting", "value"), [("initial_scale", 0.0), ("initial_offset", math.inf), ("lr_multiplier", -1.0)]
)
def test_refuses_settings_out_of_range(setting: str, value: float) -> None:
    with pytest.raises(SingerVerifyError, match=re.escape(f"loss.terms.angular.{setting}={value}: expected a number")):
        AngularPrototypicalLoss(**{setting: value})
