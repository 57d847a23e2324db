"""Margin softmax against one utterance and one singer at a time, its margin over the steps, limits and refusals."""

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from singer_verify.errors import SingerVerifyError
from singer_verify.losses.margin_softmax import AAMSoftmaxLoss, AMSoftmaxLoss, MarginSoftmaxLoss
from singer_verify.losses.weighted import WeightedLoss

BOTH = pytest.mark.parametrize("kind", [AMSoftmaxLoss, AAMSoftmaxLoss])


def draw(*shape: int, seed: int = 0) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return normalize(values, dim=-1)


def make(kind: type[MarginSoftmaxLoss], num_singers: int = 6, size: int = 5, **settings: Any) -> MarginSoftmaxLoss:
    torch.manual_seed(1)
    return kind(num_singers, size, **settings).double()


def compute_by_loops(
    embeddings: np.ndarray, singers: np.ndarray, directions: np.ndarray, scale: float, margin: float, name: str
) -> float:
    """The definitions, with angles: (singers, utterances, size), (sub-centres, all singers, size) → loss."""
    losses = []
    for singer, utterances in zip(singers, embeddings, strict=True):
        for utterance in utterances:
            logits = []
            for number in range(directions.shape[1]):
                cosine = max(
                    float(utterance @ direction) / (np.linalg.norm(utterance) * np.linalg.norm(direction))
                    for direction in directions[:, number]
                )
                if number == singer:
                    angle = math.acos(cosine)
                    if name == "am":
                        cosine -= margin
                    elif angle + margin < math.pi:
                        cosine = math.cos(angle + margin)
                    else:
                        cosine -= margin * math.sin(margin)
                logits.append(scale * cosine)
            losses.append(math.log(sum(math.exp(logit) for logit in logits)) - logits[singer])
    return float(np.mean(losses))


@BOTH
@pytest.mark.parametrize("num_subcentres", [1, 3])
@pytest.mark.parametrize(("scale", "margin"), [(30.0, 0.2), (10.0, 0.9), (1.0, 0.0)])
@pytest.mark.parametrize("singers", [[4, 0, 3], [5, 1]])
def test_it_equals_the_loops(
    kind: type[MarginSoftmaxLoss], num_subcentres: int, scale: float, margin: float, singers: list[int]
) -> None:
    loss = make(kind, scale=scale, margin=margin, num_subcentres=num_subcentres)
    embeddings = draw(len(singers), 4, 5)
    value = loss(embeddings, torch.tensor(singers))[kind.name]
    directions = loss.directions.detach().numpy()
    expected = compute_by_loops(embeddings.numpy(), np.array(singers), directions, scale, margin, kind.name)
    assert float(value.detach()) == pytest.approx(expected, abs=1e-9)


@BOTH
def test_without_margin_it_is_the_cross_entropy_of_scaled_cosines(kind: type[MarginSoftmaxLoss]) -> None:
    loss, embeddings, singers = make(kind, scale=7.0, margin=0.0), draw(3, 2, 5), torch.tensor([2, 5, 0])
    cosines = embeddings.flatten(0, 1) @ normalize(loss.directions[0], dim=1).T
    outputs = loss(embeddings, singers)
    torch.testing.assert_close(outputs[kind.name], cross_entropy(7.0 * cosines, singers.repeat_interleave(2)))
    own = cosines.argmax(dim=1) == singers.repeat_interleave(2)
    assert float(outputs[f"{kind.name}/accuracy"]) == pytest.approx(own.double().mean().item())


@BOTH
def test_the_gradient_is_that_of_differences(kind: type[MarginSoftmaxLoss]) -> None:
    loss = make(kind, margin=0.4, num_subcentres=2)
    embeddings, singers = draw(3, 2, 5).requires_grad_(), torch.tensor([2, 5, 0])

    def compute(embeddings: Tensor, directions: Tensor) -> Tensor:
        return torch.func.functional_call(loss, {"directions": directions}, (embeddings, singers))[kind.name]

    assert torch.autograd.gradcheck(compute, (embeddings, loss.directions.detach().clone().requires_grad_()))


@BOTH
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_gradient_is_finite_on_and_opposite_to_a_direction(kind: type[MarginSoftmaxLoss], sign: float) -> None:
    loss = kind(2, 4, scale=64.0, margin=0.5)
    with torch.no_grad():
        loss.directions.copy_(torch.eye(4)[:2])
    embeddings = (sign * torch.eye(4)[:2, None]).repeat(1, 2, 1).requires_grad_()
    outputs = loss(embeddings, torch.tensor([0, 1]))
    outputs[kind.name].backward()
    assert embeddings.grad is not None
    assert loss.directions.grad is not None
    assert embeddings.grad.isfinite().all()
    assert loss.directions.grad.isfinite().all()


@BOTH
def test_an_embedding_of_zeros_leaves_it_finite(kind: type[MarginSoftmaxLoss]) -> None:
    """A rectified projection can be zero everywhere."""
    embeddings = torch.zeros(2, 3, 5, requires_grad=True)
    kind(6, 5)(embeddings, torch.tensor([0, 1]))[kind.name].backward()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.5])
def test_aam_falls_with_the_angle_everywhere(margin: float) -> None:
    loss = make(AAMSoftmaxLoss, margin=margin)
    angles = torch.linspace(0.01, math.pi - 0.01, 500, dtype=torch.float64)
    with_margin = loss.apply_margin(angles.cos()[None])[0]
    assert (with_margin.diff() < 0).all()
    assert (with_margin <= angles.cos()).all()
    before = angles + margin < math.pi
    torch.testing.assert_close(with_margin[before], (angles[before] + margin).cos(), atol=1e-9, rtol=0)


@BOTH
def test_the_margin_grows_linearly_with_the_steps(kind: type[MarginSoftmaxLoss]) -> None:
    loss = kind(6, 5, margin=0.4, warmup_steps=100)
    whole = WeightedLoss({kind.name: loss}, {kind.name: 1.0})
    embeddings, singers = draw(3, 2, 5).float(), torch.tensor([2, 5, 0])
    fixed = {step: kind(6, 5, margin=margin) for step, margin in ((0, 0.0), (25, 0.1), (100, 0.4), (101, 0.4))}
    for step, other in fixed.items():
        other.load_state_dict(loss.state_dict())
        whole.set_step(step)
        outputs = whole(embeddings, singers)
        assert float(outputs[f"{kind.name}/margin"]) == pytest.approx(other.full_margin, abs=1e-7)
        torch.testing.assert_close(outputs["loss"], other(embeddings, singers)[kind.name])


def test_no_margin_is_taken_before_the_first_step_of_a_warmup_only() -> None:
    assert AMSoftmaxLoss(6, 5, margin=0.4, warmup_steps=10).margin == 0.0
    assert AMSoftmaxLoss(6, 5, margin=0.4).margin == 0.4


@BOTH
def test_the_nearest_of_a_singers_directions_counts(kind: type[MarginSoftmaxLoss]) -> None:
    loss = kind(2, 4, margin=0.0, num_subcentres=2)
    with torch.no_grad():
        loss.directions.copy_(torch.eye(4).reshape(2, 2, 4))  # singer 0: axes 0 and 2; singer 1: axes 1 and 3
    embeddings = torch.eye(4)[:, None]
    assert loss.compute_cosines(torch.eye(4)).tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert float(loss(embeddings[[0, 3]], torch.tensor([0, 1]))[f"{kind.name}/accuracy"]) == 1.0
    assert float(loss(embeddings[[1, 2]], torch.tensor([0, 1]))[f"{kind.name}/accuracy"]) == 0.0


@BOTH
def test_it_is_finite_in_float32_under_autocast(kind: type[MarginSoftmaxLoss]) -> None:
    loss = WeightedLoss({kind.name: kind(6, 5, num_subcentres=2)}, {kind.name: 1.0})
    embeddings = draw(3, 2, 5).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = loss(embeddings, torch.tensor([2, 5, 0]))
    assert all(value.dtype == torch.float32 and value.isfinite() for value in outputs.values())
    outputs["loss"].backward()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        (AMSoftmaxLoss, {"margin": -0.1}, "loss.terms.am.margin=-0.1: expected a number between 0 and 1."),
        (AMSoftmaxLoss, {"margin": 1.1}, "loss.terms.am.margin=1.1: expected a number between 0 and 1."),
        (AAMSoftmaxLoss, {"margin": -0.1}, "loss.terms.aam.margin=-0.1: expected a number between 0 and 1.5708."),
        (AAMSoftmaxLoss, {"margin": 11.5}, "loss.terms.aam.margin=11.5: expected a number between 0 and 1.5708."),
        (AAMSoftmaxLoss, {"margin": math.nan}, "loss.terms.aam.margin=nan: expected"),
        (AAMSoftmaxLoss, {"scale": 0.0}, "loss.terms.aam.scale=0.0: expected a number between 1e-06"),
        (AMSoftmaxLoss, {"scale": -30.0}, "loss.terms.am.scale=-30.0: expected a number between 1e-06"),
        (AAMSoftmaxLoss, {"num_subcentres": 0}, "loss.terms.aam.num_subcentres=0: expected an integer of at least 1."),
        (AMSoftmaxLoss, {"warmup_steps": -1}, "loss.terms.am.warmup_steps=-1: expected an integer of at least 0."),
        (AAMSoftmaxLoss, {"num_singers": 1}, "loss.terms.aam.num_singers=1: expected an integer of at least 2."),
    ],
)
def test_refuses_settings_out_of_range(kind: type[MarginSoftmaxLoss], settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SingerVerifyError, match=re.escape(said)):
        kind(**({"num_singers": 6, "embedding_size": 5} | settings))
