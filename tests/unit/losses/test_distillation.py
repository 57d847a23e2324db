"""Distillation losses against plain loops, and targets of another size than the student's embeddings."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from singer_verify.errors import SingerVerifyError
from singer_verify.losses.distillation import CosineDistillationLoss, RelationalDistillationLoss, fit_targets
from singer_verify.losses.weighted import WeightedLoss

TARGETS = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
SINGERS = torch.tensor([4, 0, 3])


def student(utterances: int = 2, size: int = 5) -> Tensor:
    return normalize(torch.randn(3, utterances, size, generator=torch.Generator().manual_seed(1)), dim=2)


def compute_cosines(rows: Tensor) -> Tensor:
    units = normalize(rows, dim=1)
    return units @ units.T


def test_cosine_distance_equals_a_loop_and_vanishes_at_the_teacher() -> None:
    loss = CosineDistillationLoss(TARGETS, 5)
    distances = [
        1 - cosine_similarity(row, TARGETS[singer], dim=0)
        for singer, rows in zip(SINGERS.tolist(), student(), strict=True)
        for row in rows
    ]
    torch.testing.assert_close(loss(student(), SINGERS)["cosine"], torch.stack(distances).mean())
    exact = normalize(TARGETS[SINGERS], dim=1)[:, None].repeat(1, 2, 1)
    assert abs(float(loss(exact, SINGERS)["cosine"])) < 1e-6


def test_relational_loss_equals_a_loop_over_pairs_of_two_singers() -> None:
    rows, owners = student().flatten(0, 1), SINGERS.repeat_interleave(2)
    squares = [
        (rows[i] @ rows[j] - cosine_similarity(TARGETS[owners[i]], TARGETS[owners[j]], dim=0)) ** 2
        for i in range(6)
        for j in range(6)
        if owners[i] != owners[j]
    ]
    loss = RelationalDistillationLoss(TARGETS)
    torch.testing.assert_close(loss(student(), SINGERS)["relational"], torch.stack(squares).mean())


def test_relational_loss_does_not_depend_on_size_or_orientation() -> None:
    """Cosines are compared: a student that turns all of the teacher's embeddings alike has learned them."""
    rotation, _ = torch.linalg.qr(torch.randn(7, 7, generator=torch.Generator().manual_seed(2)))
    turned = fit_targets(TARGETS, 7)[SINGERS] @ rotation
    assert float(RelationalDistillationLoss(TARGETS)(turned[:, None], SINGERS)["relational"]) < 1e-10


def test_targets_of_another_size_keep_their_cosines() -> None:
    torch.testing.assert_close(compute_cosines(fit_targets(TARGETS, 8)), compute_cosines(TARGETS))
    basis, _ = torch.linalg.qr(torch.randn(9, 9, generator=torch.Generator().manual_seed(3)))
    in_a_subspace = TARGETS @ basis[:5]
    torch.testing.assert_close(compute_cosines(fit_targets(in_a_subspace, 5)), compute_cosines(TARGETS))
    assert fit_targets(in_a_subspace, 3).norm(dim=1).allclose(torch.ones(6))


def test_terms_are_given_the_targets_and_carry_none_in_a_checkpoint() -> None:
    settings = {
        "cosine": {"_target_": "singer_verify.losses.distillation.CosineDistillationLoss"},
        "relational": {"_target_": "singer_verify.losses.distillation.RelationalDistillationLoss"},
    }
    loss = WeightedLoss(settings, {"cosine": 1.0, "relational": 2.0}, embedding_size=5, targets=TARGETS)
    outputs = loss(student(), SINGERS)
    torch.testing.assert_close(outputs["loss"], outputs["cosine"] + 2 * outputs["relational"])
    assert loss.state_dict() == {}
    loss.require_named_outputs(5)


def test_refuses_data_without_a_teacher_and_a_single_singer() -> None:
    settings = {"cosine": {"_target_": "singer_verify.losses.distillation.CosineDistillationLoss"}}
    with pytest.raises(SingerVerifyError, match=r"loss\.terms\.cosine: learns a teacher's embeddings.*data=voices"):
        WeightedLoss(settings, {"cosine": 1.0}, embedding_size=5, num_singers=3)
    with pytest.raises(SingerVerifyError, match="at least 2"):
        RelationalDistillationLoss(TARGETS)(student()[:1], SINGERS[:1])
