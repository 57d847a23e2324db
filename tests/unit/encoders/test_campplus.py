"""CAM++ against a second, plain computation from its state dict; at every length, in training, and frozen."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from singer_verify.encoders.campplus import CAMPPlusEncoder, compute_segment_means
from singer_verify.encoders.encoder import build_encoder, freeze, group_parameters_by_part
from singer_verify.errors import SingerVerifyError

TINY: dict[str, Any] = {
    "embedding_size": 6,
    "front_channels": 3,
    "channels": 8,
    "growth": 4,
    "bottleneck": 6,
    "num_layers": [2, 3],
    "dilations": [1, 2],
    "segment_frames": 5,
}


def build_random(num_bins: int = 16, **settings: Any) -> CAMPPlusEncoder:
    """A tiny network in evaluation mode whose every tensor is random, running statistics too."""
    torch.manual_seed(0)
    encoder = CAMPPlusEncoder(num_bins, **TINY | settings)
    with torch.no_grad():
        for name, value in encoder.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2.0)
            elif value.is_floating_point() and value.ndim == 1:
                value.normal_()
    return encoder.eval()


class CountedState(dict[str, Tensor]):
    """A state dict that notes which tensors are read."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__(state)
        self.unread = {name for name in state if "num_batches" not in name}

    def __getitem__(self, name: str) -> Tensor:
        self.unread.discard(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.unread.discard(name)
        return super().get(name, default)


def normalise_batch(hidden: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    affine = state.get(f"{name}.weight"), state.get(f"{name}.bias")
    return functional.batch_norm(hidden, state[f"{name}.running_mean"], state[f"{name}.running_var"], *affine)


def compute_mask(hidden: Tensor, state: dict[str, Tensor], name: str, segment_frames: int) -> Tensor:
    """The mask frame by frame, as the paper's equations 2 to 5 have it."""
    context = torch.empty_like(hidden)
    for frame in range(hidden.shape[2]):
        start = frame // segment_frames * segment_frames
        context[:, :, frame] = hidden.mean(dim=2) + hidden[:, :, start : start + segment_frames].mean(dim=2)
    reduced = functional.conv1d(context, state[f"{name}.linear1.weight"], state[f"{name}.linear1.bias"]).relu()
    return functional.conv1d(reduced, state[f"{name}.linear2.weight"], state[f"{name}.linear2.bias"]).sigmoid()


def embed_plainly(
    state: dict[str, Tensor], frames: Tensor, num_layers: list[int], dilations: list[int], segment_frames: int
) -> Tensor:
    """The network as functions of its tensors, all of which are used."""
    state = CountedState(state)

    def convolve(hidden: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel = state[f"{name}.weight"]
        return functional.conv2d(hidden, kernel, stride=(stride, 1), padding=kernel.shape[-1] // 2)

    maps = normalise_batch(convolve(frames.transpose(1, 2).unsqueeze(1), "head.conv1"), state, "head.bn1").relu()
    for layer in ("layer1", "layer2"):
        for block in range(2):
            name, stride = f"head.{layer}.{block}", 2 - block
            hidden = normalise_batch(convolve(maps, f"{name}.conv1", stride), state, f"{name}.bn1").relu()
            hidden = normalise_batch(convolve(hidden, f"{name}.conv2"), state, f"{name}.bn2")
            if block == 0:
                maps = normalise_batch(convolve(maps, f"{name}.shortcut.0", 2), state, f"{name}.shortcut.1")
            maps = (hidden + maps).relu()
    maps = normalise_batch(convolve(maps, "head.conv2", 2), state, "head.bn2").relu()
    hidden = maps.reshape(maps.shape[0], -1, maps.shape[3])
    hidden = functional.conv1d(hidden, state["tdnn.linear.weight"], stride=2, padding=2)
    hidden = normalise_batch(hidden, state, "tdnn.nonlinear.batchnorm").relu()
    for block, (layers, dilation) in enumerate(zip(num_layers, dilations, strict=True), start=1):
        for layer in range(1, layers + 1):
            name = f"block{block}.tdnnd{layer}"
            narrow = normalise_batch(hidden, state, f"{name}.nonlinear1.batchnorm").relu()
            narrow = functional.conv1d(narrow, state[f"{name}.linear1.weight"])
            narrow = normalise_batch(narrow, state, f"{name}.nonlinear2.batchnorm").relu()
            kernel = state[f"{name}.cam_layer.linear_local.weight"]
            added = functional.conv1d(narrow, kernel, padding=dilation, dilation=dilation)
            mask = compute_mask(narrow, state, f"{name}.cam_layer", segment_frames)
            hidden = torch.cat([hidden, added * mask], dim=1)
        hidden = normalise_batch(hidden, state, f"transit{block}.nonlinear.batchnorm").relu()
        hidden = functional.conv1d(hidden, state[f"transit{block}.linear.weight"])
    hidden = normalise_batch(hidden, state, "out_nonlinear.batchnorm").relu()
    statistics = torch.cat([hidden.mean(dim=2), hidden.std(dim=2, unbiased=True)], dim=1)
    embedding = functional.conv1d(statistics.unsqueeze(2), state["dense.linear.weight"]).squeeze(2)
    embedding = normalise_batch(embedding, state, "dense.nonlinear.batchnorm")
    assert not state.unread
    return embedding / embedding.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("num_frames", [3, 8, 10, 19, 20, 21, 47])
@pytest.mark.parametrize("num_bins", [16, 80])
def test_embeddings_are_those_of_a_plain_computation(num_frames: int, num_bins: int) -> None:
    encoder = build_random(num_bins)
    frames = torch.randn(2, num_frames, num_bins)
    expected = embed_plainly(encoder.state_dict(), frames, [2, 3], [1, 2], 5)
    torch.testing.assert_close(encoder(frames), expected, rtol=0, atol=1e-5)


def test_default_is_the_network_of_the_paper() -> None:
    """The state dict that 3D-Speaker publishes: 937 tensors, `xvector.` before all that is not in the front."""
    encoder = CAMPPlusEncoder(80)
    state = encoder.state_dict()
    assert len(state) == 937
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 6_848_544
    expected = {
        "head.conv1.weight": (32, 1, 3, 3),
        "head.layer2.0.shortcut.0.weight": (32, 32, 1, 1),
        "tdnn.linear.weight": (128, 320, 5),
        "block1.tdnnd12.linear1.weight": (128, 128 + 11 * 32, 1),
        "block2.tdnnd24.cam_layer.linear_local.weight": (32, 128, 3),
        "block3.tdnnd16.cam_layer.linear2.bias": (32,),
        "transit3.linear.weight": (512, 1024, 1),
        "dense.linear.weight": (192, 1024, 1),
    }
    assert {name: tuple(state[name].shape) for name in expected} == expected
    assert "dense.nonlinear.batchnorm.weight" not in state


@pytest.mark.parametrize("num_frames", [1, 2, 3, 4, 5, 9, 10, 11, 400])
@pytest.mark.parametrize("num_bins", [1, 3, 40])
def test_any_number_of_frames_and_bins_gives_a_unit_row(num_frames: int, num_bins: int) -> None:
    embeddings = build_random(num_bins)(torch.randn(3, num_frames, num_bins))
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))


def test_embeddings_do_not_depend_on_batch_neighbours() -> None:
    encoder, frames = build_random(), torch.randn(4, 23, 16)
    together = encoder(frames)
    for row in range(4):
        torch.testing.assert_close(encoder(frames[row : row + 1])[0], together[row], atol=1e-6, rtol=0)


@pytest.mark.parametrize("num_frames", [1, 2, 30])
def test_gradients_are_finite_where_channels_are_constant(num_frames: int) -> None:
    """Of one frame, or of channels that the rectifier holds at zero, the deviation is 0 and has no slope."""
    encoder = build_random().train()
    encoder(torch.randn(4, num_frames, 16))[:, 0].sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in encoder.parameters())


def test_training_learns_to_tell_two_singers_apart() -> None:
    encoder = build_random().train()
    optimizer = torch.optim.Adam(encoder.parameters(), 0.01)
    frames = torch.randn(8, 20, 16) + torch.tensor([0.0, 1.0]).repeat(4)[:, None, None] * torch.linspace(-1, 1, 16)
    for _ in range(15):
        embeddings = encoder(frames)
        loss = (embeddings[::2] @ embeddings[1::2].T).mean() - (embeddings[::2] @ embeddings[::2].T).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < -0.5


def test_frozen_parts_stay_as_they_are() -> None:
    encoder = build_random()
    parts = group_parameters_by_part(encoder)
    assert list(parts) == ["head", "tdnn", "block1", "transit1", "block2", "transit2", "out_nonlinear", "dense"]
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    freeze(encoder, ["head", "tdnn", "block1", "dense"])
    encoder.train()
    encoder(torch.randn(4, 20, 16)).sum().backward()
    changed = {
        name.split(".")[0] for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"transit1", "block2", "transit2", "out_nonlinear"}
    assert encoder.head.conv1.weight.grad is None


@pytest.mark.parametrize("num_frames", [1, 4, 5, 6, 20, 23])
def test_segment_means_are_those_of_average_pooling(num_frames: int) -> None:
    hidden = torch.randn(2, 3, num_frames)
    expected = functional.avg_pool1d(hidden, 5, 5, ceil_mode=True)
    torch.testing.assert_close(compute_segment_means(hidden, 5), expected)


def test_settings_rebuild_the_encoder() -> None:
    encoder, frames = build_random(), torch.randn(2, 20, 16)
    rebuilt: nn.Module = build_encoder(encoder.settings).eval()
    rebuilt.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(rebuilt(frames), encoder(frames), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_bins": 0}, r"encoder\.num_bins=0"),
        ({"growth": 0}, r"encoder\.growth=0"),
        ({"bottleneck": 1}, r"encoder\.bottleneck=1"),
        ({"num_layers": [1, 2, 3]}, r"num_layers=\[1, 2, 3\], encoder\.dilations=\[1, 2\]: expected as many of each"),
        ({"num_layers": [], "dilations": []}, "expected as many of each"),
        ({"dilations": [1, 0]}, "all at least 1"),
    ],
)
def test_refuses_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        CAMPPlusEncoder(**{"num_bins": 16} | TINY | settings)
