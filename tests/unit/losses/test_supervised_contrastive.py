"""SupCon against one anchor and one positive at a time, symmetries and refusals."""

import math
import re

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from singer_verify.errors import SingerVerifyError
from singer_verify.losses.supervised_contrastive import SupervisedContrastiveLoss
from singer_verify.losses.weighted import WeightedLoss


def draw(*shape: int) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return normalize(values, dim=-1)


def compute_by_loops(embeddings: np.ndarray, singers: list[int], temperature: float) -> float:
    """Equation 2 of Khosla et al. 2020, divided by the number of anchors: (singers, utterances, size) → loss."""
    batch = [
        (singer, utterance) for singer, utterances in zip(singers, embeddings, strict=True) for utterance in utterances
    ]
    losses = []
    for i, (singer, anchor) in enumerate(batch):
        others = [(other, math.exp(anchor @ z / temperature)) for a, (other, z) in enumerate(batch) if a != i]
        positives = [value for other, value in others if other == singer]
        total = sum(value for _, value in others)
        losses.append(-sum(math.log(value / total) for value in positives) / len(positives))
    return float(np.mean(losses))


@pytest.mark.parametrize("singers", [[0, 1, 2, 3], [7, 2], [1, 4, 1]])  # a singer in two rows is one singer
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_it_equals_the_loops(singers: list[int], temperature: float) -> None:
    embeddings = draw(len(singers), 3, 5)
    value = SupervisedContrastiveLoss(temperature)(embeddings, torch.tensor(singers))["supcon"]
    assert float(value) == pytest.approx(compute_by_loops(embeddings.numpy(), singers, temperature), abs=1e-9)


def test_the_gradient_is_that_of_differences() -> None:
    loss = SupervisedContrastiveLoss()
    embeddings = draw(3, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: loss(values, torch.arange(3))["supcon"], embeddings)


def test_it_does_not_depend_on_any_order() -> None:
    loss, embeddings, order = SupervisedContrastiveLoss(), draw(5, 4, 8), torch.tensor([3, 0, 4, 1, 2])
    expected = loss(embeddings, torch.arange(5))
    torch.testing.assert_close(loss(embeddings[order], order), expected)
    torch.testing.assert_close(loss(embeddings[:, [3, 1, 0, 2]], torch.arange(5)), expected)


def test_it_has_its_least_value_for_separate_singers_and_that_of_chance_for_equal_ones() -> None:
    """Positives share the probability: with one of them it can vanish, with two it is log 2 at least."""
    loss, separate = SupervisedContrastiveLoss(0.05), torch.eye(4)[:, None]
    assert loss(separate.repeat(1, 2, 1), torch.arange(4))["supcon"] < 1e-6
    assert float(loss(separate.repeat(1, 3, 1), torch.arange(4))["supcon"]) == pytest.approx(math.log(2), abs=1e-5)
    assert float(loss(torch.ones(4, 3, 4) / 2, torch.arange(4))["supcon"]) == pytest.approx(math.log(11), abs=1e-5)


def test_it_is_finite_for_zeros_and_opposites() -> None:
    for embeddings in (torch.zeros(2, 2, 3), torch.tensor([[[1.0, 0], [-1, 0]], [[1, 0], [-1, 0]]])):
        embeddings.requires_grad_()
        value = SupervisedContrastiveLoss(1e-3)(embeddings, torch.arange(2))["supcon"]
        value.backward()
        assert value.isfinite()
        assert embeddings.grad is not None
        assert embeddings.grad.isfinite().all()


def test_it_is_finite_in_float32_under_autocast() -> None:
    whole = WeightedLoss({"supcon": SupervisedContrastiveLoss()}, {"supcon": 1.0})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = whole(draw(3, 2, 4).bfloat16(), torch.arange(3))
    assert all(value.dtype == torch.float32 and value.isfinite() for value in outputs.values())


@pytest.mark.parametrize("shape", [(1, 4, 8), (4, 1, 8)])
def test_refuses_batches_without_comparison(shape: tuple[int, int, int]) -> None:
    with pytest.raises(SingerVerifyError, match=f"{shape[0]} singers × {shape[1]} utterances; it needs at least 2 × 2"):
        SupervisedContrastiveLoss()(torch.ones(shape), torch.arange(shape[0]))


@pytest.mark.parametrize("temperature", [0.0, -0.1, math.inf])
def test_refuses_temperatures_out_of_range(temperature: float) -> None:
    said = f"loss.terms.supcon.temperature={temperature}: expected a number between 0.001 and 1000."
    with pytest.raises(SingerVerifyError, match=re.escape(said)):
        SupervisedContrastiveLoss(temperature)
