"""Parts of encoders: their names and order, their learning rates, and what stays as it is while others learn."""

import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from singer_verify.encoders.encoder import (
    freeze,
    freeze_batchnorm,
    group_parameters_by_part,
    group_parameters_by_rate,
    has_frozen_batchnorm,
)
from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.runs.settings import find_allowed_changes
from singer_verify.training.module import Verifier


class Block(nn.ModuleList):
    """A block of its own class, though derived from a container."""

    def forward(self, frames: Tensor) -> Tensor:
        for layer in self:
            frames = frames + layer(frames)
        return frames


class DeepEncoder(nn.Module):
    """Nested blocks with BatchNorm, as convolutional speaker encoders have them."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(5, 4, bias=False)  # BatchNorm would take a bias off again
        self.trunk = nn.Sequential()
        self.trunk.add_module("first", nn.Sequential(nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4)))
        self.trunk.add_module("block", Block([nn.Linear(4, 4), nn.BatchNorm1d(4)]))
        self.trunk.add_module("activation", nn.LeakyReLU(0.5))
        self.norm = nn.BatchNorm1d(4, affine=False)
        self.offset = nn.Parameter(torch.ones(4))
        self.embedding_size, self.settings = 4, {}

    def forward(self, frames: Tensor) -> Tensor:
        embeddings: Tensor = self.offset + self.norm(self.trunk(self.head(frames.mean(dim=1))))
        return nn.functional.normalize(embeddings, dim=1)


PARTS = ["head", "trunk.first.0", "trunk.first.1", "trunk.block", "norm", "own"]


def train_steps(encoder: nn.Module, num_steps: int = 3) -> None:
    """Train as a trainer does: the whole encoder is put into training mode, whatever was frozen in it."""
    verifier = Verifier(encoder, optimizer=partial(torch.optim.SGD, lr=0.5))
    optimizer: Any = verifier.configure_optimizers()["optimizer"]
    verifier.train()
    for step in range(num_steps):
        frames = 3 + torch.randn(8, 6, 5, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        verifier.loss(encoder(frames).unflatten(0, (4, 2)), torch.arange(4))["loss"].backward()
        optimizer.step()


def copy_state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def find_changed(before: dict[str, Tensor], module: nn.Module) -> set[str]:
    return {name for name, tensor in module.state_dict().items() if not torch.equal(before[name], tensor)}


def test_containers_are_opened_and_blocks_are_not() -> None:
    parts = group_parameters_by_part(DeepEncoder())
    assert list(parts) == PARTS
    assert parts["norm"] == []
    assert sum(map(len, parts.values())) == len(list(DeepEncoder().parameters()))


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("trunk", ["trunk."]),
        ("trunk.first", ["trunk.first."]),
        ("trunk.first.1", ["trunk.first.1."]),
        ("trunk.block.0", ["trunk.block.0."]),
        ("norm", ["norm."]),
        ("own", ["offset"]),
    ],
)
def test_any_submodule_can_be_frozen(name: str, frozen: list[str]) -> None:
    encoder = DeepEncoder()
    freeze(encoder, [name])
    before = copy_state(encoder)
    train_steps(encoder)
    unchanged = set(before) - find_changed(before, encoder)
    assert unchanged == {key for key in before if key.startswith(tuple(frozen))}


def test_one_rate_is_one_group_as_ever() -> None:
    """The optimiser's groups, and with them its checkpoints and every step, are those of a training without rates."""
    for encoder in (DeepEncoder(), LSTMEncoder(5, 4, 2, 3)):
        freeze(encoder, list(group_parameters_by_part(encoder))[:1])
        groups = Verifier(encoder).configure_optimizers()["optimizer"].param_groups
        learning = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
        assert [len(group["params"]) for group in groups] == [len(learning), 2]
        assert all(own is given for own, given in zip(groups[0]["params"], learning, strict=True))
        assert "name" not in groups[0]
        assert {group["lr"] for group in groups} == {5e-4}


def test_each_part_learns_slower_than_the_next() -> None:
    encoder = DeepEncoder()
    groups = Verifier(encoder, layer_decay=0.5).configure_optimizers()["optimizer"].param_groups
    rates = {group["name"]: group["lr"] / 5e-4 for group in groups if "name" in group}
    assert rates == {"head": 0.0625, "trunk.first.0": 0.125, "trunk.first.1": 0.25, "trunk.block": 0.5, "own": 1.0}
    assert sum(len(group["params"]) for group in groups) == len(list(encoder.parameters())) + 2


def test_the_first_step_is_as_much_smaller_as_the_rate() -> None:
    moved = {}
    for layer_decay in (1.0, 0.5):
        torch.manual_seed(0)
        encoder = LSTMEncoder(5, 4, 2, 3)
        before = copy_state(encoder)
        verifier = Verifier(encoder, optimizer=partial(torch.optim.SGD, lr=0.5), layer_decay=layer_decay)
        optimizer: Any = verifier.configure_optimizers()["optimizer"]
        frames = torch.randn(8, 6, 5, generator=torch.Generator().manual_seed(1))
        verifier.loss(encoder(frames).unflatten(0, (4, 2)), torch.arange(4))["loss"].backward()
        optimizer.step()
        moved[layer_decay] = {name: tensor - before[name] for name, tensor in encoder.state_dict().items()}
    for name, step in moved[1.0].items():
        factor = 0.25 if name.endswith("_l0") else 0.5 if name.startswith("lstm") else 1.0
        torch.testing.assert_close(moved[0.5][name], factor * step, rtol=1e-3, atol=1e-7)


def test_the_innermost_name_decides() -> None:
    encoder = DeepEncoder()
    freeze(encoder, ["trunk.first.0"])
    multipliers = {"trunk.block.1": 3, "trunk": 0.1}
    groups = group_parameters_by_rate(encoder, 0.5, multipliers)
    assert {name: rate for name, (rate, _) in groups.items()} == {
        "head": 0.0625,
        "trunk": 0.1,
        "trunk.block.1": 3.0,
        "own": 1.0,
    }
    assert len(groups["trunk"][1]) == 4  # of first.1 and of the other layer of the block
    assert sum(len(parameters) for _, parameters in groups.values()) == len(list(encoder.parameters())) - 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"layer_decay": 0.0}, "layer_decay=0.0: expected a number between 1e-06 and 1."),
        ({"layer_decay": 1.1}, "layer_decay=1.1: expected a number between 1e-06 and 1."),
        ({"lr_multipliers": {"head": 0}}, "lr_multipliers.head=0: expected a number between"),
        (
            {"lr_multipliers": {"tail": 1}},
            "lr_multipliers.tail: no such part of the encoder; expected some of head, trunk",
        ),
    ],
)
def test_wrong_rates_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SingerVerifyError, match=re.escape(said)):
        Verifier(DeepEncoder(), **settings).configure_optimizers()


@pytest.mark.parametrize("name", ["", "trunk.second", "trunk.first.0.weight"])
def test_a_name_of_no_part_is_refused(name: str) -> None:
    with pytest.raises(SingerVerifyError, match=re.escape(f"freeze=[{name}]: no such part of the encoder")):
        freeze(DeepEncoder(), [name])


def test_batchnorm_keeps_its_statistics_while_everything_learns() -> None:
    encoder = DeepEncoder()
    train_steps(encoder)  # statistics worth keeping
    freeze_batchnorm(encoder)
    before = copy_state(encoder)
    train_steps(encoder)
    assert find_changed(before, encoder) == {name for name, _ in encoder.named_parameters()}
    assert encoder.training
    frames = torch.randn(8, 6, 5)
    torch.testing.assert_close(encoder.train()(frames), encoder.eval()(frames))


def test_batchnorm_of_a_frozen_part_learns_nothing() -> None:
    encoder = DeepEncoder()
    freeze(encoder, "trunk")
    freeze_batchnorm(encoder)
    before = copy_state(encoder)
    train_steps(encoder)
    assert find_changed(before, encoder) == {"head.weight", "offset"}


def test_an_encoder_without_batchnorm_is_left_alone() -> None:
    encoder = LSTMEncoder(5, 4, 1, 3, dropout=0.5)
    freeze_batchnorm(encoder)
    before = copy_state(encoder)
    train_steps(encoder)
    assert find_changed(before, encoder) == set(before)


def test_frozen_batchnorm_is_noticed() -> None:
    """A conversion to SyncBatchNorm loses what keeps it frozen, and is refused where there is any."""
    encoder = DeepEncoder()
    assert not has_frozen_batchnorm(encoder)
    freeze(encoder, "head")
    assert not has_frozen_batchnorm(encoder)
    freeze(encoder, "trunk.first.1")
    assert has_frozen_batchnorm(encoder)
    converted: Any = nn.SyncBatchNorm.convert_sync_batchnorm(encoder).train()
    assert not converted.trunk.first[1]._forward_pre_hooks


def test_kept_statistics_are_not_averaged_over_devices() -> None:
    """A mean over three devices of one value need not be that value."""
    averaged = []

    def reduce(buffer: Tensor, reduce_op: str) -> Tensor:
        averaged.append(buffer)
        return buffer + 1

    encoder = DeepEncoder()
    freeze(encoder, "trunk.block")
    freeze_batchnorm(encoder.trunk.first)
    verifier = Verifier(encoder)
    verifier.trainer = SimpleNamespace(world_size=3, strategy=SimpleNamespace(reduce=reduce))  # type: ignore[assignment]
    verifier.train()
    encoder(torch.randn(8, 6, 5))
    before = copy_state(encoder)
    verifier.on_after_backward()
    assert find_changed(before, encoder) == {"norm.running_mean", "norm.running_var"}
    assert len(averaged) == 2


def test_runs_of_earlier_versions_continue() -> None:
    earlier: dict[str, Any] = {"freeze": [], "seed": 1}
    now = earlier | {"freeze_batchnorm": False, "layer_decay": 1.0, "lr_multipliers": None}
    assert find_allowed_changes(earlier, now) == find_allowed_changes(now, earlier) == {}
    for name, value in (("freeze_batchnorm", True), ("layer_decay", 0.8), ("lr_multipliers", {"head": 0.1})):
        with pytest.raises(SingerVerifyError, match=f"{name}.* cannot change while a training continues"):
            find_allowed_changes(earlier, now | {name: value})
