"""Convolutional encoders (x-vector, ECAPA-TDNN, ResNet): published sizes, any number of frames, frozen parts."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from singer_verify.encoders.ecapa import EcapaEncoder, MultiScaleConvolution
from singer_verify.encoders.encoder import build_encoder, freeze, group_parameters_by_part
from singer_verify.encoders.pooling import POOLINGS
from singer_verify.encoders.resnet import ResNetEncoder
from singer_verify.encoders.xvector import XVectorEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.training.parts import check_encoder

NUM_BINS = 5
ENCODER_CONF = Path(__file__).parents[3] / "conf/encoder"
FRAMES = torch.randn(3, 20, NUM_BINS, generator=torch.Generator().manual_seed(0))


def build_small(kind: str, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    if kind == "xvector":
        return XVectorEncoder(NUM_BINS, **{"channels": 6, "pooled_channels": 8, "embedding_size": 4} | settings)
    if kind == "resnet":
        return ResNetEncoder(NUM_BINS, **{"channels": 2, "num_blocks": [1, 2, 1, 1], "embedding_size": 4} | settings)
    small = {"channels": 8, "scale": 4, "squeeze_channels": 3, "aggregation_channels": 9, "attention_channels": 5}
    return EcapaEncoder(NUM_BINS, **small | {"embedding_size": 4} | settings)


def randomise(encoder: nn.Module) -> nn.Module:
    """Give BatchNorm statistics and weights that are not those of an untrained network; evaluation mode."""
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.weight, 1.0, 0.2)
            nn.init.normal_(module.bias, std=0.2)
    return encoder.eval()


@pytest.mark.parametrize("kind", ["xvector", "ecapa", "resnet"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_any_number_of_frames_gives_unit_rows_of_their_own(kind: str, pooling: str) -> None:
    encoder = randomise(build_small(kind, pooling=pooling))
    check_encoder(encoder, NUM_BINS)
    for num_frames in (1, 2, 20):
        frames = FRAMES[:, :num_frames]
        together = encoder(frames)
        torch.testing.assert_close(together.norm(dim=1), torch.ones(3))
        torch.testing.assert_close(encoder(frames[1:2]), together[1:2], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["xvector", "ecapa", "resnet"])
@pytest.mark.parametrize("frames", [FRAMES, FRAMES[:, :1], torch.zeros(3, 20, NUM_BINS)])
def test_gradients_are_finite(kind: str, frames: torch.Tensor) -> None:
    encoder = build_small(kind).train()
    (encoder(frames) @ torch.ones(4)).square().sum().backward()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in encoder.parameters())


@pytest.mark.parametrize("kind", ["xvector", "ecapa", "resnet"])
def test_settings_rebuild_the_encoder(kind: str) -> None:
    encoder = randomise(build_small(kind, pooling="attentive_statistics"))
    rebuilt = build_encoder(yaml.safe_load(yaml.safe_dump(encoder.settings))).eval()
    rebuilt.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(rebuilt(FRAMES), encoder(FRAMES))


@pytest.mark.parametrize(
    ("name", "num_bins", "settings", "millions"),
    [
        ("ecapa", 80, {}, 6.2),
        ("ecapa", 80, {"channels": 1024}, 14.7),
        ("xvector", 40, {}, 0.9),
        ("resnet", 80, {}, 6.6),
    ],
)
def test_sizes_are_the_published_ones(name: str, num_bins: int, settings: dict[str, Any], millions: float) -> None:
    conf = yaml.safe_load((ENCODER_CONF / f"{name}.yaml").read_text())
    with torch.device("meta"):
        encoder = build_encoder(conf | {"num_bins": num_bins} | settings)
    assert round(sum(part.numel() for part in encoder.parameters()) / 1e6, 1) == millions


def test_x_vector_sees_fifteen_frames_as_published() -> None:
    encoder = build_small("xvector", embedding_norm=False).eval()
    frames = torch.zeros(1, 31, NUM_BINS, requires_grad=True)
    channels = frames.transpose(1, 2)
    for number in range(1, 6):
        channels = encoder.get_submodule(f"layer{number}")(channels + 0.1)
    channels[0, :, 15].sum().backward()
    assert frames.grad is not None
    seen = frames.grad[0].abs().sum(dim=1).nonzero().flatten()
    assert (seen.min(), seen.max()) == (15 - 7, 15 + 7)


def test_multi_scale_groups_are_added_on_and_the_last_passes() -> None:
    torch.manual_seed(0)
    part, frames = randomise(MultiScaleConvolution(8, 2, 4)), torch.randn(1, 8, 10)
    first, second, third = (layer for layer in part.layers)
    given = frames.split(2, dim=1)
    one = first(given[0])
    two = second(given[1] + one)
    torch.testing.assert_close(part(frames), torch.cat([one, two, third(given[2] + two), given[3]], dim=1))


def test_a_block_reads_all_outputs_before_it_or_the_last_alone() -> None:
    summed, plain = (randomise(build_small("ecapa", summation=summation)) for summation in (True, False))
    plain.load_state_dict(summed.state_dict())
    seen: dict[str, list[torch.Tensor]] = {"summed": [], "plain": []}
    for name, encoder in (("summed", summed), ("plain", plain)):
        for number in (1, 2, 3):
            layer = encoder.get_submodule(f"layer{number}")
            layer.register_forward_hook(lambda _, __, output, name=name: seen[name].append(output))
        encoder.layer4.register_forward_pre_hook(lambda _, given, name=name: seen[name].append(given[0]))
        encoder(FRAMES)
    one, two, three, given = seen["summed"]
    torch.testing.assert_close(given, one + two + three)
    torch.testing.assert_close(seen["plain"][3], seen["plain"][2])


@pytest.mark.parametrize("kind", ["xvector", "ecapa", "resnet"])
def test_each_layer_can_be_frozen_with_its_statistics(kind: str) -> None:
    encoder = build_small(kind)
    parts = {name.partition(".")[0] for name in group_parameters_by_part(encoder)}
    assert {"layer1", "layer2", "layer3", "layer4"} <= parts
    freeze(encoder, ["layer1", "layer2"])
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    optimizer = torch.optim.SGD([part for part in encoder.parameters() if part.requires_grad], lr=0.1)
    encoder.train()
    encoder(FRAMES)[:, 0].sum().backward()
    optimizer.step()
    changed = {name for name, tensor in encoder.state_dict().items() if not tensor.equal(before[name])}
    assert any(name.startswith("layer4.") for name in changed)
    assert not any(name.startswith(("layer1.", "layer2.")) for name in changed)


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("ecapa", {"channels": 9}, r"encoder\.channels=9: expected a multiple of encoder\.scale=4"),
        ("ecapa", {"scale": 1}, r"encoder\.scale=1: expected an integer of at least 2"),
        ("ecapa", {"dilations": []}, r"encoder\.dilations=\[\]: expected a list of integers, for example \[2,3,4\]"),
        ("ecapa", {"dilations": [2, 0]}, r"encoder\.dilations\[1\]=0: expected an integer of at least 1"),
        ("ecapa", {"squeeze_channels": 0}, r"encoder\.squeeze_channels=0"),
        ("ecapa", {"pooling": "max"}, r"encoder\.pooling=max: expected one of mean, statistics"),
        ("xvector", {"channels": 0}, r"encoder\.channels=0"),
        ("xvector", {"pooled_channels": -1}, r"encoder\.pooled_channels=-1"),
        ("resnet", {"num_blocks": [3, 4]}, r"encoder\.num_blocks=\[3, 4\]: expected 4 integers of at least 1"),
        ("resnet", {"num_blocks": [3, 4, 0, 1]}, r"encoder\.num_blocks=\[3, 4, 0, 1\]: expected 4 integers"),
        ("xvector", {"pooling": "last"}, r"encoder\.pooling=last: expected one of mean, statistics"),
    ],
)
def test_refuses_settings(kind: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        build_small(kind, **settings)
