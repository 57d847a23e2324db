"""GE2ELoss against a plain double loop, classification against its definition, weights and refusals."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from singer_verify.errors import SingerVerifyError
from singer_verify.losses.classification import ClassificationLoss
from singer_verify.losses.ge2e import GE2ELoss
from singer_verify.losses.weighted import WeightedLoss


def ge2e_by_loops(embeddings: Tensor, scale: Tensor, offset: Tensor, form: str) -> Tensor:
    """Equations 5 to 9 of Wan et al. 2018, one utterance and one singer at a time."""
    num_singers, num_utterances, _ = embeddings.shape
    losses = []
    for j in range(num_singers):
        for i in range(num_utterances):
            similarities = []
            for k in range(num_singers):
                members = [embeddings[k, m] for m in range(num_utterances) if not (k == j and m == i)]
                centroid = torch.stack(members).mean(dim=0)
                similarities.append(scale * cosine_similarity(embeddings[j, i], centroid, dim=0) + offset)
            row = torch.stack(similarities)
            if form == "softmax":
                losses.append(-row[j] + row.logsumexp(dim=0))
            else:
                others = torch.cat([row[:j], row[j + 1 :]]).sigmoid()
                losses.append(1 - row[j].sigmoid() + others.max())
    return torch.stack(losses).mean()


def random_embeddings(singers: int = 5, utterances: int = 4, size: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return normalize(torch.randn(singers, utterances, size, generator=generator, dtype=torch.float64), dim=2)


@pytest.mark.parametrize("form", ["softmax", "contrast"])
def test_ge2e_equals_the_loops_in_value_and_gradient(form: str) -> None:
    loss = GE2ELoss(form=form).double()
    fast, slow = (random_embeddings().requires_grad_() for _ in range(2))
    value = loss(fast, torch.arange(5))["ge2e"]
    value.backward()
    scale, offset = (torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in (10.0, -5.0))
    expected = ge2e_by_loops(slow, scale, offset, form)
    expected.backward()
    torch.testing.assert_close(value, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(fast.grad, slow.grad, atol=1e-5, rtol=0)
    torch.testing.assert_close(loss.scale.grad, scale.grad, atol=1e-5, rtol=0)
    torch.testing.assert_close(loss.offset.grad, offset.grad, atol=1e-5, rtol=0)


def test_ge2e_is_small_for_separate_singers_and_chance_for_equal_ones() -> None:
    separate = torch.eye(4)[:, None].repeat(1, 3, 1)
    equal = torch.ones(4, 3, 4) / 2
    assert GE2ELoss()(separate, torch.arange(4))["ge2e"] < 2e-4
    torch.testing.assert_close(GE2ELoss()(equal, torch.arange(4))["ge2e"], torch.log(torch.tensor(4.0)))


def test_ge2e_does_not_depend_on_the_order_of_singers() -> None:
    embeddings = random_embeddings().float()
    loss, order = GE2ELoss(), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(loss(embeddings, torch.arange(5)), loss(embeddings[order], order))


def test_the_scale_stays_positive_and_can_recover() -> None:
    loss = GE2ELoss()
    with torch.no_grad():
        loss.scale.fill_(-3.0)
    value = loss(random_embeddings().float(), torch.arange(5))["ge2e"]
    assert loss.scale > 0
    value.backward()
    assert loss.scale.grad is not None
    assert loss.scale.grad != 0


@pytest.mark.parametrize("shape", [(1, 4, 8), (4, 1, 8)])
def test_ge2e_refuses_batches_without_comparison(shape: tuple[int, int, int]) -> None:
    with pytest.raises(SingerVerifyError, match="needs at least 2 × 2"):
        GE2ELoss()(torch.ones(shape), torch.arange(shape[0]))


def test_classification_has_a_gradient_and_a_true_accuracy() -> None:
    """The classifier of an earlier encoder got a constant: a loss without gradient."""
    loss = ClassificationLoss(num_singers=7, embedding_size=16)
    embeddings = random_embeddings().float().requires_grad_()
    singers = torch.tensor([6, 2, 0, 3, 5])
    outputs = loss(embeddings, singers)
    outputs["ce"].backward()
    assert embeddings.grad is not None
    assert embeddings.grad.abs().sum() > 0
    predicted = loss.class_layer(embeddings).argmax(dim=2)
    torch.testing.assert_close(outputs["ce/accuracy"], (predicted == singers[:, None]).float().mean())


def test_weights_and_names() -> None:
    embeddings, singers = random_embeddings().float(), torch.arange(5)
    loss = WeightedLoss({"ge2e": GE2ELoss(), "ce": ClassificationLoss(5, 16)}, {"ge2e": 0.5, "ce": 2.0})
    outputs = loss(embeddings, singers)
    assert set(outputs) == {"loss", "ge2e", "ce", "ce/accuracy"}
    torch.testing.assert_close(outputs["loss"], 0.5 * outputs["ge2e"] + 2.0 * outputs["ce"])


def test_losses_are_float32_under_autocast() -> None:
    loss = WeightedLoss({"ge2e": GE2ELoss()}, {"ge2e": 1.0})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = loss(random_embeddings().bfloat16(), torch.arange(5))
    assert outputs["ge2e"].dtype == torch.float32


def test_refuses_one_utterance_per_singer_only_where_it_matters() -> None:
    WeightedLoss({"ce": ClassificationLoss(5, 16)}, {"ce": 1.0}).require_utterances(1)
    with pytest.raises(SingerVerifyError, match=r"data\.utterances_per_singer=1: loss term ge2e"):
        WeightedLoss({"ge2e": GE2ELoss()}, {"ge2e": 1.0}).require_utterances(1)


def test_refuses_weights_for_other_terms() -> None:
    with pytest.raises(SingerVerifyError, match="expected the same names"):
        WeightedLoss({"ge2e": GE2ELoss()}, {"ce": 1.0})
