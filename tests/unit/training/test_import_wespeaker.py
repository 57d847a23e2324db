"""Weights in the layouts of wespeaker: embeddings of a second, plain computation; what does not fit is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.audio import sing
from torch import Tensor
from torch.nn import functional

from singer_verify.errors import SingerVerifyError
from singer_verify.features.fbank import Fbank
from singer_verify.features.recipe import get_feature_settings
from singer_verify.inference import load_model
from singer_verify.training.import_weights import import_weights_as_run, read_external_weights

Weights = dict[str, Tensor]
NUM_BINS, EMBEDDING = 16, 5


class Draw:
    """Random tensors of a state dict, with BatchNorm statistics of a trained network."""

    def __init__(self) -> None:
        self.state: Weights = {}
        self.generator = torch.Generator().manual_seed(0)

    def normal(self, name: str, *shape: int) -> None:
        self.state[name] = torch.randn(*shape, generator=self.generator) / np.sqrt(max(np.prod(shape[1:]), 1))

    def layer(self, name: str, *shape: int, bias: bool = True) -> None:
        self.normal(f"{name}.weight", *shape)
        if bias:
            self.normal(f"{name}.bias", shape[0])

    def norm(self, name: str, size: int, affine: bool = True) -> None:
        if affine:
            self.state[f"{name}.weight"] = 1 + 0.1 * torch.randn(size, generator=self.generator)
            self.normal(f"{name}.bias", size)
        self.normal(f"{name}.running_mean", size)
        self.state[f"{name}.running_var"] = 0.5 + torch.rand(size, generator=self.generator)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def draw_ecapa(channels: int, scale: int, aggregation: int, context: bool, embedding_norm: bool) -> Weights:
    draw, width = Draw(), channels // scale
    draw.layer("layer1.conv", channels, NUM_BINS, 5)
    draw.norm("layer1.bn", channels)
    for number in (2, 3, 4):
        block = f"layer{number}.se_res2block"
        for part in (0, 2):
            draw.layer(f"{block}.{part}.conv", channels, channels, 1)
            draw.norm(f"{block}.{part}.bn", channels)
        for group in range(scale - 1):
            draw.layer(f"{block}.1.convs.{group}", width, width, 3)
            draw.norm(f"{block}.1.bns.{group}", width)
        draw.layer(f"{block}.3.linear1", 3, channels)
        draw.layer(f"{block}.3.linear2", channels, 3)
    draw.layer("conv", aggregation, 3 * channels, 1)
    draw.layer("pool.linear1", 4, aggregation * (3 if context else 1), 1)
    draw.layer("pool.linear2", aggregation, 4, 1)
    draw.norm("bn", 2 * aggregation)
    draw.layer("linear", EMBEDDING, 2 * aggregation)
    if embedding_norm:
        draw.norm("bn2", EMBEDDING)
    return draw.state


def apply_norm(state: Weights, name: str, given: Tensor) -> Tensor:
    statistics = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return functional.batch_norm(given, *statistics, state.get(f"{name}.weight"), state.get(f"{name}.bias"))


def apply_layer(state: Weights, name: str, given: Tensor, **settings: int) -> Tensor:
    weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
    return (
        functional.linear(given, weight, bias)
        if weight.ndim == 2
        else functional.conv1d(given, weight, bias, **settings)
    )


def compute_ecapa(state: Weights, frames: Tensor, scale: int) -> Tensor:
    """The network as wespeaker's configuration describes it: convolution, ReLU, BatchNorm; no sums between blocks."""
    hidden = apply_norm(state, "layer1.bn", apply_layer(state, "layer1.conv", frames.mT, padding=2).relu())
    outputs = []
    for number in (2, 3, 4):
        block, given = f"layer{number}.se_res2block", hidden
        hidden = apply_norm(state, f"{block}.0.bn", apply_layer(state, f"{block}.0.conv", hidden).relu())
        groups = list(hidden.split(hidden.shape[1] // scale, dim=1))
        for group in range(scale - 1):
            added = groups[group] + groups[group - 1] if group else groups[group]
            convolved = apply_layer(state, f"{block}.1.convs.{group}", added, padding=number, dilation=number)
            groups[group] = apply_norm(state, f"{block}.1.bns.{group}", convolved.relu())
        hidden = torch.cat(groups, dim=1)
        hidden = apply_norm(state, f"{block}.2.bn", apply_layer(state, f"{block}.2.conv", hidden).relu())
        squeezed = apply_layer(state, f"{block}.3.linear1", hidden.mean(dim=2)).relu()
        hidden = given + hidden * apply_layer(state, f"{block}.3.linear2", squeezed).sigmoid()[:, :, None]
        outputs.append(hidden)
    pooled = apply_layer(state, "conv", torch.cat(outputs, dim=1)).relu()
    context = pooled
    if state["pool.linear1.weight"].shape[1] > pooled.shape[1]:
        whole = [
            part.expand_as(pooled)
            for part in (pooled.mean(2, keepdim=True), (pooled.var(2, keepdim=True) + 1e-10).sqrt())
        ]
        context = torch.cat([pooled, *whole], dim=1)
    weights = apply_layer(state, "pool.linear2", apply_layer(state, "pool.linear1", context).tanh()).softmax(dim=2)
    mean = (weights * pooled).sum(dim=2)
    deviation = ((weights * pooled.square()).sum(dim=2) - mean.square()).clamp(min=1e-10).sqrt()
    embedding = apply_layer(state, "linear", apply_norm(state, "bn", torch.cat([mean, deviation], dim=1)))
    return apply_norm(state, "bn2", embedding) if "bn2.weight" in state else embedding


def draw_resnet(bottleneck: bool, num_blocks: tuple[int, ...], channels: int = 2) -> Weights:
    draw, given, expansion = Draw(), channels, 4 if bottleneck else 1
    draw.layer("conv1", channels, 1, 3, 3, bias=False)
    draw.norm("bn1", channels)
    for number, blocks in enumerate(num_blocks):
        width = channels * 2**number
        sizes = [(width, 1), (width, 3), (4 * width, 1)] if bottleneck else [(width, 3), (width, 3)]
        for block in range(blocks):
            name, into = f"layer{number + 1}.{block}", given
            for place, (size, kernel) in enumerate(sizes, start=1):
                draw.layer(f"{name}.conv{place}", size, into, kernel, kernel, bias=False)
                draw.norm(f"{name}.bn{place}", size)
                into = size
            if (number and not block) or given != width * expansion:
                draw.layer(f"{name}.shortcut.0", width * expansion, given, 1, 1, bias=False)
                draw.norm(f"{name}.shortcut.1", width * expansion)
            given = width * expansion
    draw.layer("seg_1", EMBEDDING, 2 * given * NUM_BINS // 8)
    return draw.state


def compute_resnet(state: Weights, frames: Tensor, num_blocks: tuple[int, ...]) -> Tensor:
    """A residual network as in He et al. 2016: the stride is that of the convolution over three bins and frames."""

    def convolve(name: str, norm: str, given: Tensor, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        convolved = functional.conv2d(given, weight, stride=stride, padding=weight.shape[2] // 2)
        return apply_norm(state, norm, convolved)

    hidden = convolve("conv1", "bn1", frames.transpose(1, 2).unsqueeze(1)).relu()
    for number, blocks in enumerate(num_blocks):
        for block in range(blocks):
            name, given, stride = f"layer{number + 1}.{block}", hidden, 2 if number and not block else 1
            if f"{name}.conv3.weight" in state:
                hidden = convolve(f"{name}.conv1", f"{name}.bn1", hidden).relu()
                hidden = convolve(f"{name}.conv2", f"{name}.bn2", hidden, stride).relu()
                hidden = convolve(f"{name}.conv3", f"{name}.bn3", hidden)
            else:
                hidden = convolve(f"{name}.conv1", f"{name}.bn1", hidden, stride).relu()
                hidden = convolve(f"{name}.conv2", f"{name}.bn2", hidden)
            if f"{name}.shortcut.0.weight" in state:
                given = convolve(f"{name}.shortcut.0", f"{name}.shortcut.1", given, stride)
            hidden = (hidden + given).relu()
    means, deviations = hidden.mean(dim=3), (hidden.var(dim=3) + 1e-8).sqrt()
    return apply_layer(state, "seg_1", torch.cat([means.flatten(1), deviations.flatten(1)], dim=1))


def saved(content: Weights, folder: Path) -> Path:
    path = folder / "avg_model.pt"
    torch.save(content, path)
    return path


def require_same_embeddings(expected: Tensor, given: Tensor) -> None:
    torch.testing.assert_close(given, functional.normalize(expected, dim=1), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("context", "embedding_norm", "scale", "prefix"), [(False, False, 4, ""), (True, True, 2, "module.")]
)
def test_ecapa_is_reproduced_from_its_weights_alone(
    context: bool, embedding_norm: bool, scale: int, prefix: str, tmp_path: Path
) -> None:
    state = draw_ecapa(8, scale, 9, context, embedding_norm)
    classifier = {"projection.weight": torch.zeros(7, EMBEDDING)}
    content = {f"{prefix}{name}": tensor for name, tensor in (state | classifier).items()}
    import_weights_as_run(saved(content, tmp_path), None, None, tmp_path / "run")
    model = load_model(tmp_path / "run")
    for num_frames in (2, 40):
        frames = torch.randn(3, num_frames, NUM_BINS)
        require_same_embeddings(compute_ecapa(state, frames, scale), model.encoder(frames))
    assert get_feature_settings(model.feature.recipe) == Fbank(NUM_BINS, window="hamming").recipe
    samples = torch.from_numpy(sing(1, 2.0))
    frames = model.feature(samples)
    expected = compute_ecapa(state, (frames - frames.mean(dim=0))[None], scale)
    embedding = torch.from_numpy(model.embed(samples.numpy(), 16_000))[None]
    require_same_embeddings(expected, embedding)


def test_ecapa_has_the_published_sizes(tmp_path: Path) -> None:
    state = draw_ecapa(512, 8, 1536, True, False)
    weights = read_external_weights(saved(state, tmp_path))
    names = ("channels", "scale", "dilations", "aggregation_channels", "pooling", "summation", "embedding_norm")
    expected = [512, 8, [2, 3, 4], 1536, "context_attentive_statistics", False, False]
    assert [weights.encoder[name] for name in names] == expected
    assert len(weights.state) == len(state)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"layer3.se_res2block.1.bns.0.weight": None},
            r"ECAPA-TDNN: layer3\.se_res2block\.1\.bns\.0\.weight is missing",
        ),
        ({"layer1.conv.weight": None}, r"ECAPA-TDNN: layer1\.conv\.weight is missing"),
        ({"bn3.weight": torch.ones(5)}, r"bn3\.weight is left over; expected"),
        ({"conv.weight": torch.zeros(9, 23, 1)}, r"conv\.weight has shape \(9, 23, 1\), expected \(9, 24, 1\)"),
        ({"pool.linear1.weight": None}, r"pool\.linear1\.bias is left over"),
        ({"linear.weight": torch.zeros(5, 9)}, r"linear\.weight has shape \(5, 9\), expected \(5, 18\)"),
        ({"linear.weight": torch.full((5, 18), torch.nan)}, r"linear\.weight holds NaN"),
        ({"layer1.conv.weight": torch.zeros(9, NUM_BINS, 5)}, r"channels=9: expected a multiple of"),
    ],
)
def test_ecapa_weights_that_do_not_fit_are_refused(
    changes: dict[str, Tensor | None], said: str, tmp_path: Path
) -> None:
    state = draw_ecapa(8, 4, 9, False, False)
    content = {name: tensor for name, tensor in (state | changes).items() if tensor is not None}
    with pytest.raises(SingerVerifyError, match=said):
        import_weights_as_run(saved(content, tmp_path), None, None, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("bottleneck", "num_blocks"), [(False, (2, 1, 3, 1)), (True, (1, 2, 1, 1))])
def test_resnet_is_reproduced_from_its_weights_alone(
    bottleneck: bool, num_blocks: tuple[int, ...], tmp_path: Path
) -> None:
    state = draw_resnet(bottleneck, num_blocks)
    path = saved(state | {"projection.weight": torch.zeros(7, EMBEDDING)}, tmp_path)
    import_weights_as_run(path, None, None, tmp_path / "run")
    model = load_model(tmp_path / "run")
    assert (model.encoder.settings["num_bins"], model.encoder.settings["num_blocks"]) == (NUM_BINS, list(num_blocks))
    assert get_feature_settings(model.feature.recipe) == Fbank(NUM_BINS, window="hamming").recipe
    for num_frames in (16, 41):
        frames = torch.randn(3, num_frames, NUM_BINS)
        expected = functional.normalize(compute_resnet(state, frames, num_blocks), dim=1)
        torch.testing.assert_close(model.encoder(frames), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layer3.0.shortcut.0.weight": None}, r"ResNet: layer3\.0\.shortcut\.0\.weight is missing"),
        ({"seg_2.weight": torch.zeros(5, 5)}, r"seg_2\.weight is left over"),
        ({"conv1.weight": None}, r"ResNet: conv1\.weight is missing"),
        ({"layer2.0.conv2.weight": torch.zeros(4, 3, 3, 3)}, r"layer2\.0\.conv2\.weight has shape"),
        ({"seg_1.weight": torch.zeros(5, 63)}, r"seg_1\.weight has shape \(5, 63\), expected \(5, 32\)"),
    ],
)
def test_resnet_weights_that_do_not_fit_are_refused(
    changes: dict[str, Tensor | None], said: str, tmp_path: Path
) -> None:
    state = draw_resnet(False, (1, 1, 1, 1)) | changes
    content = {name: tensor for name, tensor in state.items() if tensor is not None}
    with pytest.raises(SingerVerifyError, match=said):
        import_weights_as_run(saved(content, tmp_path), None, None, tmp_path / "run")


def test_resnet34_has_the_published_number_of_parameters(tmp_path: Path) -> None:
    """6.63 million with 80 bins and 256 values of an embedding, as wespeaker lists it."""
    weights = read_external_weights(saved(draw_resnet_34(), tmp_path))
    assert weights.encoder["num_blocks"] == [3, 4, 6, 3]
    assert weights.encoder["num_bins"] == 80
    counted = [value.numel() for name, value in weights.state.items() if "running" not in name and value.ndim]
    assert round(sum(counted) / 1e6, 2) == 6.63


def draw_resnet_34() -> Weights:
    state = draw_resnet(False, (3, 4, 6, 3), 32)
    return state | {"seg_1.weight": torch.zeros(256, 2 * 256 * 10), "seg_1.bias": torch.zeros(256)}
