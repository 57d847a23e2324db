"""On a GPU: embeddings stay there and are those of the processor, and a training stops and continues."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.audio import SAMPLE_RATE, sing
from support.tiny_run import make_corpus, run, tiny
from support.untrained_model import make_run

from singer_verify import load_model

pytestmark = pytest.mark.gpu


def test_samples_on_the_gpu_are_embedded_there(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    samples = torch.from_numpy(np.stack([sing(seed, 2.0) for seed in range(3)]))
    there = load_model(folder, device="cuda").embed(samples.cuda())
    assert there.device.type == "cuda"
    assert torch.allclose(there.cpu(), load_model(folder, device="cpu").embed(samples), atol=1e-3)
    recording = sing(0, 2.0)
    here = load_model(folder, device="cuda").embed(recording, SAMPLE_RATE)
    np.testing.assert_allclose(here, load_model(folder, device="cpu").embed(recording, SAMPLE_RATE), atol=1e-3)


def test_gradients_reach_samples_on_the_gpu(tmp_path: Path) -> None:
    module = load_model(make_run(tmp_path / "run"), device="cuda").torch_module()
    samples = torch.from_numpy(sing(0, 2.0))[None].cuda().requires_grad_()
    module(samples).sum().backward()
    assert samples.grad is not None
    assert samples.grad.isfinite().all()


def test_a_training_on_the_gpu_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    settings = [*tiny(corpus), "trainer.accelerator=gpu", "trainer.devices=1"]
    folder = run(monkeypatch, *settings, "trainer.max_steps=5", folder=tmp_path / "run")
    run(monkeypatch, *settings, "trainer.max_steps=9", f"resume={folder}", folder=folder)
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 9
    assert load_model(folder).device.type == "cuda"
