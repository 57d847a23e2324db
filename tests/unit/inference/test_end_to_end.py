"""A model as one torch module: what it computes equals the model, and gradients flow through all of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.audio import sing
from support.untrained_model import make_run

from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.feature import Feature
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.recipe import build_feature, read_recipe
from singer_verify.features.voice import DEFAULT_VOICE_SETTINGS, with_frame_settings
from singer_verify.inference import load_model

RATE = 16_000


def sing_batch(num_recordings: int, seconds: float = 1.5) -> torch.Tensor:
    return torch.from_numpy(np.stack([sing(seed, seconds) for seed in range(num_recordings)]))


@pytest.mark.parametrize("normalise", ["none", "utterance_bins", "utterance_unit_variance"])
@pytest.mark.parametrize("recipe", ["mel40", "mfcc"])
def test_the_module_is_the_model(tmp_path: Path, recipe: str, normalise: str) -> None:
    model = load_model(make_run(tmp_path / "run", build_feature(read_recipe(recipe)), normalise=normalise))
    batch = sing_batch(2)
    module = model.torch_module()
    np.testing.assert_allclose(module(batch).detach().numpy(), model.embed(batch).numpy(), atol=1e-6)
    expected = np.stack([model.embed(row.numpy(), RATE) for row in batch])
    np.testing.assert_allclose(module(batch).detach().numpy(), expected, atol=1e-5)


def test_gradients_reach_samples_and_weights(tmp_path: Path) -> None:
    model = load_model(make_run(tmp_path / "run", normalise="utterance_bins"))
    module = model.torch_module().train()
    samples, target = sing_batch(2).requires_grad_(), sing_batch(2).flip(0)
    loss = 1 - (module(samples) * module(target).detach()).sum(-1).mean()
    loss.backward()
    assert samples.grad is not None
    assert samples.grad.isfinite().all()
    assert (samples.grad.abs().amax(dim=1) > 0).all()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in module.parameters())
    assert all(parameter.grad is None for parameter in model.encoder.parameters())  # the module has a copy
    step = 0.05 / samples.grad.norm()
    with torch.no_grad():
        moved = module(samples - step * samples.grad)
        assert 1 - (moved * module(target)).sum(-1).mean() < loss


def test_rows_without_voice_are_embedded_whole_where_that_is_asked_for(tmp_path: Path) -> None:
    model = load_model(make_run(tmp_path / "run", with_frame_settings(MelSpectrogram(40), DEFAULT_VOICE_SETTINGS)))
    module = model.torch_module(without_voice="whole")
    noise = 0.1 * torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    samples = torch.stack([*sing_batch(1, 1.0), noise, torch.zeros(RATE)]).requires_grad_()
    embeddings = module(samples)
    np.testing.assert_allclose(embeddings[0].detach(), model.embed(samples[0].detach()), atol=1e-6)
    embeddings[:, 0].sum().backward()
    assert samples.grad is not None
    assert samples.grad.isfinite().all()
    assert samples.grad[1].any()
    with pytest.raises(UtteranceError, match="row 1: holds no voice"):
        model.torch_module()(samples)


def test_the_gradient_is_that_of_finite_differences(tmp_path: Path) -> None:
    module = load_model(make_run(tmp_path / "run", MelSpectrogram(8, n_fft=512))).torch_module()
    samples = sing_batch(1, 0.5).requires_grad_()
    module(samples)[:, 0].sum().backward()
    assert samples.grad is not None
    slope = float(samples.grad.norm())
    step = 1e-3 * samples.grad / slope
    with torch.no_grad():
        ends = [float(module(samples + sign * step)[0, 0]) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / 2e-3 == pytest.approx(slope, rel=0.02)


def test_it_stays_in_evaluation_mode_and_recurrent_layers_can_be_differentiated(tmp_path: Path) -> None:
    module = load_model(make_run(tmp_path / "run")).torch_module().train()
    recurrent = [part for part in module.modules() if isinstance(part, torch.nn.RNNBase)]
    assert recurrent
    for part in module.modules():
        assert part.training == (part in recurrent)
    assert all(part.dropout == 0.0 for part in recurrent)


@pytest.mark.parametrize(
    ("feature", "obstacle"),
    [
        (build_feature(read_recipe("world")), "WorldEnvelope is no torch.nn.Module"),
        (MelSpectrogram(8, high_pass_hz=30.0), "its high-pass filter is computed by scipy"),
    ],
)
def test_recipes_outside_torch_embed_batches_too_but_have_no_module(
    tmp_path: Path, feature: Feature, obstacle: str
) -> None:
    model = load_model(make_run(tmp_path / "run", feature))
    with pytest.raises(SingerVerifyError, match=rf"cannot run inside torch: {obstacle}.*; compute its frames"):
        model.torch_module()
    batch = torch.from_numpy(np.stack([sing(seed, 1.0, feature.sample_rate) for seed in range(2)]))
    expected = np.stack([model.embed(row.numpy(), feature.sample_rate) for row in batch])
    np.testing.assert_allclose(model.embed(batch).numpy(), expected, atol=1e-6)


def test_another_sample_rate_is_resampled(tmp_path: Path) -> None:
    model = load_model(make_run(tmp_path / "run"))
    samples = torch.from_numpy(sing(1, 1.0, 44_100))
    np.testing.assert_allclose(model.embed(samples, 44_100).numpy(), model.embed(samples.numpy(), 44_100), atol=1e-6)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (torch.zeros(2, RATE), "row 0: peak 0"),
        (torch.full((1, RATE), float("nan")), "row 0: peak nan"),
        (torch.full((1, RATE), 40.0), "row 0: peak 40"),
        (torch.rand(1, 100), "0.01 s; expected at least 0.5 s"),
    ],
)
def test_samples_that_cannot_be_used_are_refused(tmp_path: Path, samples: torch.Tensor, message: str) -> None:
    with pytest.raises(UtteranceError, match=message):
        load_model(make_run(tmp_path / "run")).embed(samples)


@pytest.mark.parametrize("samples", [torch.zeros(1, 2, RATE), torch.zeros(RATE, dtype=torch.int16)])
def test_tensors_that_are_no_recordings_are_refused(tmp_path: Path, samples: torch.Tensor) -> None:
    with pytest.raises(SingerVerifyError, match=r"expected floats of shape \(samples,\) or \(batch, samples\)"):
        load_model(make_run(tmp_path / "run")).embed(samples)
